"""Repetition is found, near or exact, and what is merely alike is left alone."""

import random
from collections.abc import Sequence

import pytest

from finetune.data.duplicates import SIMILAR, Repeat, Repeats, jaccard, text_of
from finetune.types import Example, Retrieval, Supervised, Turn, Unpaired

WORDS = [f"{first}{second}" for first in ("al", "be", "cor", "dun", "el") for second in ("ma", "tis", "run", "vok")]


def said(question: str, answer: str, system: str = "Be brief.") -> Supervised:
    return Supervised(
        messages=(
            Turn(role="system", content=system),
            Turn(role="user", content=question),
            Turn(role="assistant", content=answer, trained=True),
        )
    )


def repeats_in(examples: Sequence[Example]) -> tuple[list[Repeat], list[tuple[int, int]]]:
    repeats = Repeats()
    for example in examples:
        repeats.add(example)
    near = [(repeat.index, repeat.earlier) for repeat in repeats.near(examples.__getitem__)]
    return repeats.exact(), near


def sentence(seed: int, words: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def test_exact_repetition_names_the_first() -> None:
    one, other = said("a?", "b"), said("c?", "d")
    assert repeats_in([one, other, one, one]) == ([Repeat(2, 0, 1.0), Repeat(3, 0, 1.0)], [])


def test_the_same_words_with_another_label_are_no_repetition() -> None:
    good, bad = (Unpaired(prompt=(), completion=said("a", "b").messages, label=label) for label in (True, False))
    assert repeats_in([good, bad])[0] == []


def test_queries_of_one_passage_repeat_only_if_they_are_alike() -> None:
    claim, passage = sentence(1), sentence(2, words=300)
    first, other, alike, elsewhere = (
        Retrieval(query=query, passages=(found,))
        for query, found in ((claim, passage), (sentence(3), passage), (claim.upper(), passage), (claim, claim))
    )
    assert repeats_in([first, other, alike, elsewhere]) == ([], [(2, 0)])


def test_a_word_changed_in_a_long_text_is_near_repetition() -> None:
    text = sentence(1)
    assert repeats_in(
        [said(text, "Yes."), said("Else?", sentence(2)), said(text.replace(text[:6], "other ", 1), "Yes.")]
    ) == (
        [],
        [(2, 0)],
    )


def test_case_and_spacing_alone_are_near_repetition() -> None:
    assert repeats_in([said("Where is it?", "There."), said(" where is  IT?", "there.")]) == ([], [(1, 0)])


@pytest.mark.parametrize(
    ("one", "other"),
    [("Question 1?", "Question 2?"), ("Is it safe to eat?", "Is it safe to run?"), ("a", "b"), ("", "x")],
)
def test_short_texts_that_differ_in_a_word_are_none(one: str, other: str) -> None:
    assert repeats_in([said(one, "Answer."), said(other, "Answer.")]) == ([], [])


def test_a_system_message_that_all_share_makes_none_alike() -> None:
    system = sentence(3, 400)
    assert repeats_in([said(sentence(4, 5), "Yes.", system), said(sentence(5, 5), "No.", system)]) == ([], [])


def test_nearly_every_pair_over_the_threshold_is_found() -> None:
    chance = random.Random(0)
    pairs = []
    for seed in range(300):
        words = sentence(seed, 80).split()
        changed = list(words)
        changed[chance.randrange(80)] = "zzz"
        pairs += [said(" ".join(words), "Yes."), said(" ".join(changed), "Yes.")]
    over = {
        index + 1
        for index in range(0, len(pairs), 2)
        if jaccard(text_of(pairs[index]), text_of(pairs[index + 1])) >= SIMILAR
    }
    found = {index for index, _ in repeats_in(pairs)[1]}
    assert len(over) > 250
    assert found <= over
    assert len(found) >= 0.97 * len(over)
