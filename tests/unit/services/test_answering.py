import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prompts import Templates
from rag.ports import Entailment
from rag.types import ChunkId, Hit, Passage
from services.answering import FileSearch, Turn, conclude, in_worker, prepare
from services.calibrations import Calibrations
from services.engines.engine import ChatRequest
from services.engines.extractive import Extractive
from services.engines.fallback import Candidate, Line
from services.engines.gate import Gate
from services.engines.router import Route
from services.errors import BadRequest, RateLimited
from services.settings import AliasSettings, Settings
from tests.fakes.calibrated import kept
from tests.fakes.embedder import WordEmbedder

SEARCH = FileSearch(store_ids=("vs_1",))
ASKED = {"role": "user", "content": "When are tomatoes planted?"}
HIT = Hit(
    passage=Passage(
        chunk_id=ChunkId(1), file_id="file-1", filename="a.md", text="Tomatoes are planted in May.", start=0, end=28
    ),
    score=0.9,
    rank=1,
)


class Writer:
    """A generative engine that says one thing, or fails."""

    name = "writer"
    supports = frozenset({"temperature", "tools", "response_format"})

    def __init__(self, says: str | Exception = "How are tomatoes planted?") -> None:
        self.says = says
        self.heard: list[Sequence[Mapping[str, Any]]] = []

    async def chat(self, request: Any) -> dict[str, Any]:
        self.heard.append(request.messages)
        if isinstance(self.says, Exception):
            raise self.says
        return {"choices": [{"message": {"content": self.says}}]}


class World:
    """What `prepare` needs of the services, the search answered by a list of hits."""

    def __init__(self, home: Path, engine: Writer, alias: AliasSettings | None, hits: list[Hit]) -> None:
        self.settings = Settings(home=home)
        self.templates = Templates()
        self.embedder = WordEmbedder()
        self.entailment: Entailment | None = None
        self.calibrations = Calibrations(home / "calibrations")
        self.searched: list[str] = []
        self.search = SEARCH
        self.hits = hits
        route = Route(model_id="m", engine=engine, generative=True, gate=Gate("m"), alias=alias)  # type: ignore[arg-type]
        extractive = Extractive(lambda: self.embedder, self.templates)
        own = Route(model_id="extractive", engine=extractive, generative=False, gate=Gate("extractive"))
        self.router = SimpleNamespace(
            resolve=lambda _project, name: own if name == "extractive" else route,
            fallbacks=lambda _name: (),
            declared=lambda _project, name: SimpleNamespace(source="acme/one") if name == "m" else None,
        )
        self.searching = SimpleNamespace(search=self._search)

    def _search(self, _project: str, _stores: Sequence[str], question: str, _options: object) -> list[Hit]:
        self.searched.append(question)
        return self.hits

    def turn(self, *messages: Mapping[str, Any], calibrated: bool = True, **params: Any) -> Turn:
        def work() -> Turn:
            services: Any = self
            search = self.search
            return prepare(
                services, "p", model="m", messages=messages, params=params, file_search=search, calibrated=calibrated
            )

        return asyncio.run(in_worker(work))


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def world(home: Path, writer: Writer) -> Iterator[World]:
    yield World(home, writer, None, [HIT])


def test_instructions_come_after_the_caller_s_own(world: World) -> None:
    system = {"role": "system", "content": "Be kind."}
    own, instructions, question = world.turn(system, ASKED).request.messages

    assert (own, question) == (system, ASKED)
    assert instructions["role"] == "system"
    assert "Tomatoes are planted in May." in instructions["content"]


def test_a_prompt_of_the_user_s_takes_the_question_s_place(home: Path, writer: Writer) -> None:
    alias = AliasSettings(model="m", prompt="qa_or_unanswerable")
    picture = {"type": "image_url", "image_url": {"url": "x"}}
    parts = [{"type": "text", "text": "When are tomatoes planted?"}, picture]
    [message] = World(home, writer, alias, [HIT]).turn({"role": "user", "content": parts}).request.messages

    text, kept = message["content"]
    assert kept == picture
    assert text["text"].startswith("Answer the question") and "[1] Tomatoes" in text["text"]


def test_a_follow_up_is_rewritten_by_the_engine(world: World, writer: Writer) -> None:
    turn = world.turn(ASKED, {"role": "assistant", "content": "In May."}, {"role": "user", "content": "And how?"})

    assert world.searched == ["How are tomatoes planted?"]
    assert turn.grounding and turn.grounding.question == "How are tomatoes planted?"
    assert "And how?" in writer.heard[0][0]["content"]


def test_an_alias_has_questions_decomposed_by_its_model_and_a_request_may_say_otherwise(
    home: Path, writer: Writer
) -> None:
    writer.says = "When are tomatoes planted?\nWho plants tomatoes?"
    world = World(home, writer, AliasSettings(model="m", decompose=True), [HIT])
    question = "When and by whom are tomatoes planted?"
    world.turn({"role": "user", "content": question})
    assert world.searched == ["When are tomatoes planted?", "Who plants tomatoes?", question]

    world.searched.clear()
    world.search = FileSearch(store_ids=("vs_1",), decompose=False)
    world.turn({"role": "user", "content": question})
    assert world.searched == [question]


def test_a_follow_up_survives_an_engine_that_fails(world: World, writer: Writer) -> None:
    writer.says = RateLimited("Slow down")
    world.turn(ASKED, {"role": "assistant", "content": "In May."}, {"role": "user", "content": "And how?"})

    assert world.searched == ["When are tomatoes planted? And how?"]


def test_with_nothing_found_loam_refuses_by_itself(world: World) -> None:
    world.hits = []

    assert world.turn(ASKED).route.model_id == "extractive"
    assert world.turn(ASKED, tools=[{"type": "function"}]).route.model_id == "m"


@pytest.mark.parametrize("content", ["", "  ", [{"type": "image_url", "image_url": {}}]])
def test_a_search_needs_a_question(world: World, content: Any) -> None:
    with pytest.raises(BadRequest, match="no question"):
        world.turn({"role": "user", "content": content})


def test_a_mark_that_its_source_does_not_bear_out_is_gone(world: World) -> None:
    answer = conclude(world.turn(ASKED), "Tomatoes are planted in May [1]. Cats fly [1][2].")

    assert answer.text == "Tomatoes are planted in May [1]. Cats fly."
    assert [citation.quote for citation in answer.citations] == ["Tomatoes are planted in May"]
    assert answer.answered


class Sure:
    """A model that finds one thing said, and nothing else."""

    def entails(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [float("Cats" not in statement) for _, statement in pairs]


def test_with_an_entailment_model_statements_are_judged_by_it(world: World) -> None:
    world.settings = world.settings.model_copy(update={"entailment": "acme/nli"})
    world.entailment = Sure()
    answer = conclude(world.turn(ASKED), "Tomatoes go in in May [1]. Cats fly.")

    assert answer.text == "Tomatoes go in in May [1]. Cats fly."
    assert [(one.how, one.supported) for one in answer.support] == [("entailment", True), ("entailment", False)]


@pytest.mark.parametrize(("threshold", "answered"), [(0.4, True), (0.6, False)])
def test_a_calibrated_model_s_answer_counts_from_its_threshold_on(
    world: World, threshold: float, answered: bool
) -> None:
    world.calibrations.save(kept("m", threshold=threshold))
    answer = conclude(world.turn(ASKED), "Tomatoes are planted in May [1].")

    assert (answer.answered, answer.confidence) == (answered, 0.5)
    assert answer.text == ("Tomatoes are planted in May [1]." if answered else "The documents do not say.")


def test_it_is_taken_at_its_word_where_that_is_wanted(world: World) -> None:
    world.calibrations.save(kept("m", threshold=0.9))
    answer = conclude(world.turn(ASKED, calibrated=False), "Tomatoes are planted in May [1].")

    assert (answer.answered, answer.confidence) == (True, None)


@pytest.mark.parametrize(("form", "judged"), [("text", True), ("json_object", False)])
def test_what_is_held_to_json_is_never_replaced_by_a_sentence(world: World, form: str, judged: bool) -> None:
    world.calibrations.save(kept("m", threshold=0.9))

    turn = world.turn(ASKED, response_format={"type": form})
    assert (turn.confidence is not None) is judged
    assert conclude(turn, '{"pages": [1]}').text == ('{"pages":}' if judged else '{"pages": [1]}')


@pytest.mark.parametrize("other", [{"engine": "groq"}, {"source": "acme/two"}, {"embedder": "words-2"}, {"model": "n"}])
def test_a_calibration_of_another_model_or_embedder_does_not_count(world: World, other: dict[str, str]) -> None:
    world.calibrations.save(kept("m", threshold=0.9).model_copy(update=other))

    assert world.turn(ASKED).confidence is None


def test_the_extractive_engine_says_how_likely_its_quotes_answer(world: World) -> None:
    world.hits = []
    turn = world.turn(ASKED)

    assert conclude(turn, "The documents do not say.", (), 0.0).confidence == 0.0


def test_an_answer_is_judged_by_the_calibration_of_the_model_that_wrote_it(world: World, writer: Writer) -> None:
    world.calibrations.save(kept("m", threshold=0.9))
    turn = world.turn(ASKED)
    failing = Route(model_id="n", engine=Writer(RateLimited("Slow down")), generative=True, gate=Gate("n"))  # type: ignore[arg-type]
    request = ChatRequest(messages=(ASKED,), grounding=turn.grounding)
    line = Line(first=Candidate(route=failing, request=request), others=(turn.line.first,))
    answered, _completion = asyncio.run(replace(turn, line=line, confidence=None).answered())

    assert (answered.route.model_id, answered.confidence) == ("m", turn.confidence)
    assert turn.confidence is not None
