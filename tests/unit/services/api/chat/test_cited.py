import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from rag.confidence import FEATURES, AnswerCalibration, Confidence
from rag.types import ChunkId, Grounding, Hit, Passage
from services.answering import Turn
from services.api.chat.cited import Sending
from services.engines.engine import ChatRequest
from services.engines.fallback import Candidate, Line
from services.engines.gate import Gate
from services.engines.hosted import Hosted, Upstream
from services.engines.pool import ClientPool
from services.engines.router import Route
from tests.fakes.embedder import WordEmbedder

TEXT = "Tomatoes are planted in May. They like the sun."
WRITTEN = "Tomatoes are planted in May [1]. So are cats [1] [4]."
SENT = "Tomatoes are planted in May [1]. So are cats."
ENGINE = Hosted(
    Upstream(
        engine="groq",
        url="",
        model="m",
        key=None,
        key_hint="",
        timeout_s=1,
        retries=0,
        supports=frozenset(),
        forwards=frozenset(),
    ),
    ClientPool(),
)


def turn(*, grounded: bool = True, confidence: Confidence | None = None, **params: Any) -> Turn:
    passage = Passage(chunk_id=ChunkId(7), file_id="file-1", filename="a.md", text=TEXT, start=100, end=100 + len(TEXT))
    hit = Hit(passage=passage, score=0.5, rank=1)
    grounding = Grounding(
        question="q", sources=(hit,), instructions="", role="system", prompt="p", timings_ms={"search": 1.23456}
    )
    request = ChatRequest(messages=(), params=params, grounding=grounding if grounded else None)
    route = Route(model_id="llama", engine=ENGINE, generative=True, gate=Gate("llama"))
    return Turn(line=Line(first=Candidate(route=route, request=request)), refusal="No.", confidence=confidence)


def doubt(threshold: float) -> Confidence:
    """A calibration to which every answer is as likely right as wrong."""
    weights = dict.fromkeys(FEATURES, 0.0)
    calibration = AnswerCalibration(weights=weights, intercept=0.0, threshold=threshold)
    return Confidence(calibration=calibration, embedder=WordEmbedder())


def chunk(content: str | None, finish_reason: str | None = None, index: int = 0) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"id": "theirs", "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def sent(turn: Turn, *chunks: dict[str, Any], whole: bool = False) -> list[dict[str, Any]]:
    async def written() -> AsyncGenerator[dict[str, Any]]:
        for one in chunks:
            yield one

    async def collect() -> list[dict[str, Any]]:
        return [one async for one in Sending(turn, whole=whole).chunks(written())]

    return asyncio.run(collect())


def contents(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for one in chunks for choice in one["choices"])


@pytest.mark.parametrize("size", [1, 2, 3, 11, 100])
def test_what_is_streamed_does_not_depend_on_the_pieces(size: int) -> None:
    pieces = [chunk(WRITTEN[start : start + size]) for start in range(0, len(WRITTEN), size)]
    chunks = sent(turn(), *pieces, chunk(None, "stop"))

    assert contents(chunks) == SENT
    *_, last_content, end = chunks
    [annotation] = last_content["choices"][0]["delta"]["annotations"]
    assert annotation["file_citation"] == {
        "file_id": "file-1",
        "filename": "a.md",
        "index": 1,
        "start_index": 28,
        "end_index": 31,
        "quote": "Tomatoes are planted in May",
        "page": None,
        "chunk_id": "chunk_7",
        "score": 0.5,
        "source_start": 100,
        "source_end": 127,
    }
    assert (last_content["loam"]["answered"], last_content["loam"]["timings_ms"]["search"]) == (True, 1.235)
    assert end["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}


def test_content_beside_the_reason_to_finish_is_kept() -> None:
    chunks = sent(turn(), chunk("Tomatoes are planted in May [1"), chunk("].", "stop"))

    assert contents(chunks) == "Tomatoes are planted in May [1]."
    assert [one["choices"][0]["finish_reason"] for one in chunks] == [None, None, "stop"]


def test_each_choice_has_its_own_marks_and_loam_speaks_when_all_have_ended() -> None:
    ends = [chunk(None, "stop", index) for index in (0, 1)]
    chunks = sent(turn(n=2), chunk("Tomatoes are planted in May [1].", index=1), chunk("No.", index=0), *ends)

    annotated = [one for one in chunks if "annotations" in one["choices"][0]["delta"]]
    assert [len(one["choices"][0]["delta"]["annotations"]) for one in annotated] == [0, 1]
    assert ["loam" in one for one in annotated] == [False, True]
    assert annotated[1]["loam"]["answered"] is True


def test_a_choice_without_text_gets_none() -> None:
    calls = {"choices": [{"index": 0, "delta": {"tool_calls": []}, "finish_reason": "tool_calls"}]}
    [only] = sent(turn(), calls)

    assert "content" not in only["choices"][0]["delta"]
    assert only["loam"]["answered"] is False


def test_without_documents_nothing_is_touched_but_id_and_model() -> None:
    [first, last] = sent(turn(grounded=False), chunk("See [1] [9]"), chunk(None, "stop"))

    assert first["choices"] == [{"index": 0, "delta": {"content": "See [1] [9]"}, "finish_reason": None}]
    assert (first["model"], first["id"] == last["id"] != "theirs") == ("llama", True)
    assert last["loam"]["answered"] is None


def test_a_whole_completion_is_checked_too() -> None:
    given = {"choices": [{"index": 0, "message": {"role": "assistant", "content": WRITTEN}, "finish_reason": "stop"}]}
    completion = Sending(turn()).completion(given)

    message = completion["choices"][0]["message"]
    assert (message["content"], len(message["annotations"])) == (SENT, 1)
    assert completion["loam"]["engine"] == "groq"


def test_the_refusal_is_no_answer() -> None:
    given = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "No."}}]}

    assert Sending(turn()).completion(given)["loam"]["answered"] is False


def test_citations_of_an_upstream_s_own_are_passed_on_and_not_believed() -> None:
    message = {"role": "assistant", "content": WRITTEN, "citations": ["https://example.com"]}
    [choice] = Sending(turn()).completion({"choices": [{"index": 0, "message": message}]})["choices"]

    assert (choice["message"]["content"], len(choice["message"]["annotations"])) == (SENT, 1)
    assert choice["message"]["citations"] == ["https://example.com"]


def whole(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def test_a_whole_answer_that_is_likely_enough_says_how_likely() -> None:
    completion = Sending(turn(confidence=doubt(0.5))).completion(whole(WRITTEN))

    assert completion["choices"][0]["message"]["content"] == SENT
    assert (completion["loam"]["answered"], completion["loam"]["confidence"]) == (True, 0.5)


def test_one_that_is_not_is_the_refusal() -> None:
    completion = Sending(turn(confidence=doubt(0.6))).completion(whole(WRITTEN))

    assert completion["choices"][0]["message"]["content"] == "No."
    assert completion["choices"][0]["message"]["annotations"] == []
    assert (completion["loam"]["answered"], completion["loam"]["confidence"]) == (False, 0.5)


def test_of_a_model_without_a_calibration_no_confidence_is_told() -> None:
    assert "confidence" not in Sending(turn()).completion(whole(WRITTEN))["loam"]


def test_what_was_streamed_is_not_taken_back_and_its_end_says_that_it_does_not_count() -> None:
    *_, last_content, _end = chunks = sent(turn(confidence=doubt(0.6)), chunk(WRITTEN), chunk(None, "stop"))

    assert contents(chunks) == SENT
    assert last_content["choices"][0]["delta"]["annotations"] == []
    assert (last_content["loam"]["answered"], last_content["loam"]["confidence"]) == (False, 0.5)


@pytest.mark.parametrize(("threshold", "text", "marks"), [(0.5, SENT, 1), (0.6, "No.", 0)])
def test_sent_whole_nothing_leaves_before_it_is_judged(threshold: float, text: str, marks: int) -> None:
    pieces = [chunk(piece) for piece in WRITTEN]
    chunks = sent(turn(confidence=doubt(threshold)), *pieces, chunk(None, "stop"), whole=True)

    assert [one for one in chunks[:-2] if contents([one])] == []
    assert contents(chunks) == text
    assert len(chunks[-2]["choices"][0]["delta"]["annotations"]) == marks


def test_of_several_choices_the_likeliest_is_told() -> None:
    ends = [chunk(None, "stop", index) for index in (0, 1)]
    chunks = sent(turn(n=2, confidence=doubt(0.5)), chunk(WRITTEN, index=0), chunk("No.", index=1), *ends)

    [info] = [one["loam"] for one in chunks if "loam" in one]
    assert (info["answered"], info["confidence"]) == (True, 0.5)
