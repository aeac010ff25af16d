"""Sizes without a model, and what a file's sizes amount to."""

import pytest

from finetune.data.lengths import Estimate, Length, Lengths, TextMeter
from finetune.types import Preference, Retrieval, Supervised, Turn

ASK = Turn(role="user", content="a" * 40)
ANSWER = Turn(role="assistant", content="b" * 20, trained=True)
SHORT = Turn(role="assistant", content="b", trained=True)


def length(longest: int) -> Length:
    return Length(tokens=longest, longest=longest, trained=1, lost=0, emptied=False)


def test_an_estimate_counts_four_bytes_a_token_and_a_frame_for_each_message() -> None:
    measured, found = Estimate().measure(Supervised(messages=(ASK, ANSWER)), None)
    assert (measured, found) == (Length(tokens=23, longest=23, trained=9, lost=0, emptied=False), [])


def test_a_limit_cuts_the_end() -> None:
    measured, _ = Estimate().measure(Supervised(messages=(ASK, ANSWER)), 20)
    assert measured == Length(tokens=23, longest=23, trained=9, lost=3, emptied=False)


def test_a_pair_is_two_sequences_and_one_without_target_is_told() -> None:
    pair = Preference(prompt=(ASK,), chosen=(ANSWER,), rejected=(SHORT,))
    measured, _ = Estimate().measure(pair, 14)
    assert measured == Length(tokens=42, longest=23, trained=14, lost=14, emptied=True)


def test_what_is_learned_is_marked_in_the_sample() -> None:
    (shown,) = Estimate().show(Supervised(messages=(Turn(role="user", content="Hi"), SHORT)))
    assert (shown.text, [shown.text[start:end] for start, end in shown.spans]) == ("user: Hi\nassistant: b\n", ["b"])


class Words:
    """Each word is a token, between two special ones."""

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[0, *range(len(text.split())), 1] for text in texts]}


def test_an_embedder_reads_each_text_by_itself_and_learns_from_the_right_ones() -> None:
    example = Retrieval(query="a b", passages=("c d e f",), negatives=("g",))
    measured, found = TextMeter(Words()).measure(example, 5)  # type: ignore[arg-type]
    assert (measured, found) == (Length(tokens=13, longest=6, trained=6, lost=1, emptied=False), [])


@pytest.mark.parametrize("meter", [Estimate(), TextMeter(Words())])  # type: ignore[arg-type]
def test_a_query_is_shown_with_its_passages_of_which_the_right_ones_are_marked(meter: Estimate | TextMeter) -> None:
    (shown,) = meter.show(Retrieval(query="q", passages=("a",), negatives=("b",)))
    assert (shown.text, [shown.text[start:end] for start, end in shown.spans]) == (
        "query: q\npassage: a\nnot: b\n",
        ["a"],
    )


def test_the_histogram_counts_every_example_once() -> None:
    lengths = Lengths()
    for longest in (1, 16, 17, 64, 65, 128):
        lengths.add(length(longest))
    assert lengths.histogram() == [(16, 2), (32, 1), (64, 1), (128, 2)]
    assert [lengths.quantile(share) for share in (0, 0.5, 1)] == [1, 64, 128]


def test_no_examples_have_no_histogram() -> None:
    assert (Lengths().histogram(), Lengths().quantile(0.5)) == ([], 0)
