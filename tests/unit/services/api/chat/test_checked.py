"""What is sent of an answer whose statements are judged, whole and in a stream."""

from dataclasses import replace
from typing import Any

import pytest

from rag.support import Check, Judge, Policy
from services.api.chat.cited import Sending
from tests.unit.services.api.chat.test_cited import chunk, contents, sent, turn

WRITTEN = "Tomatoes are planted in May [1]. Pigs fly high over Paris. They like the sun [1]."
MARKED = "Tomatoes are planted in May [1]. Pigs fly high over Paris. [unsupported] They like the sun [1]."
DROPPED = "Tomatoes are planted in May [1]. They like the sun [1]."


def judged(policy: Policy) -> Any:
    return replace(turn(), check=Check(judge=Judge(), policy=policy))


@pytest.mark.parametrize(
    ("policy", "expected", "supported"),
    [
        (Policy.KEEP, WRITTEN, [True, False, True]),
        (Policy.MARK, MARKED, [True, False, True]),
        (Policy.DROP, DROPPED, [True, True]),
    ],
)
def test_a_policy_holds_for_whole_answers_and_for_streams(policy: Policy, expected: str, supported: list[bool]) -> None:
    given = {"choices": [{"index": 0, "message": {"content": WRITTEN}, "finish_reason": "stop"}]}
    whole = Sending(judged(policy)).completion(given)
    pieces = [chunk(WRITTEN[start : start + 7]) for start in range(0, len(WRITTEN), 7)]
    streamed = sent(judged(policy), *pieces, chunk(None, "stop"))

    assert whole["choices"][0]["message"]["content"] == contents(streamed) == expected
    (told,) = [one["loam"] for one in streamed if "loam" in one]
    assert [one["supported"] for one in told["support"]] == supported
    assert told["support"] == whole["loam"]["support"]
    assert told["support"][0] == {
        "start_index": 0,
        "end_index": len("Tomatoes are planted in May [1]."),
        "supported": True,
        "score": 1.0,
        "how": "quote",
        "chunk_ids": ["chunk_7"],
    }


def test_annotations_point_at_their_marks_after_something_was_dropped() -> None:
    streamed = sent(judged(Policy.DROP), chunk(WRITTEN), chunk(None, "stop"))
    annotations = [
        one["file_citation"]
        for sent_chunk in streamed
        for choice in sent_chunk["choices"]
        for one in choice["delta"].get("annotations", ())
    ]
    assert [DROPPED[one["start_index"] : one["end_index"]] for one in annotations] == ["[1]", "[1]"]


def test_an_answer_of_which_nothing_is_left_is_the_refusal() -> None:
    given = {"choices": [{"index": 0, "message": {"content": "Tomatoes like cats, 40 of them."}}]}
    answer = Sending(judged(Policy.DROP)).completion(given)
    assert answer["loam"]["answered"] is False
    assert "support" not in answer["loam"]
