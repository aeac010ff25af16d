"""Choosing the next token of many sequences at once: each as transformers' processors would have it."""

from typing import Any

import pytest
import torch
from transformers import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from services.engines.local.sampling import Chooser, _narrowed, draw
from services.engines.local.wanted import Sampling

VOCABULARY = 50
NONE: Any = torch.empty(1, 0, dtype=torch.long)


def chooser(choice: int = 0, **given: Any) -> Chooser:
    return Chooser(Sampling(**given), prompt=[3, 4], like=torch.zeros(VOCABULARY), choice=choice)


def scores(rows: int = 1, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("given", "warpers"),
    [
        ({"top_k": 5}, [TopKLogitsWarper(5)]),
        ({"top_p": 0.7}, [TopPLogitsWarper(0.7)]),
        ({"min_p": 0.2}, [MinPLogitsWarper(0.2)]),
        (
            {"top_k": 9, "top_p": 0.8, "min_p": 0.1},
            [TopKLogitsWarper(9), TopPLogitsWarper(0.8), MinPLogitsWarper(0.1)],
        ),
        ({"top_k": 500, "top_p": 0.0}, [TopKLogitsWarper(1)]),
    ],
)
def test_what_is_left_to_choose_from_is_what_transformers_leaves(given: dict[str, Any], warpers: list[Any]) -> None:
    expected = scores()
    for warper in warpers:
        expected = warper(NONE, expected)
    beside = chooser(top_k=2)

    assert torch.equal(_narrowed([beside, chooser(**given)], scores().repeat(2, 1))[1:], expected)


def test_a_draw_is_that_of_multinomial_whatever_is_drawn_beside_it() -> None:
    given = scores(3)
    expected = torch.multinomial((given[1:2] / 1.5).softmax(-1), 1, generator=torch.Generator().manual_seed(7))

    beside = [chooser(temperature=0.0), chooser(temperature=0.5, top_p=0.5, seed=1)]
    drawn = draw([beside[0], chooser(temperature=1.5, seed=7), beside[1]], given)
    assert drawn[:2] == [int(given[0].argmax()), int(expected)]
    assert drawn[1:2] == draw([chooser(temperature=1.5, seed=7)], given[1:2])


def test_draws_come_as_often_as_is_likely() -> None:
    given = torch.full((1, VOCABULARY), float("-inf"))
    given[0, :2] = torch.tensor([0.75, 0.25]).log()
    one = chooser(seed=0)
    drawn = [draw([one], given)[0] for _ in range(2000)]

    assert drawn.count(0) / 2000 == pytest.approx(0.75, abs=0.04)


def test_repetition_is_penalized_as_transformers_does() -> None:
    one = chooser(repetition_penalty=1.3)
    one.processors[0].accept(9)
    expected = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([[3, 4, 9]]), scores())

    assert torch.equal(one.processors[0].process(scores()[0]), expected[0])


def test_penalties_count_what_was_chosen_and_not_the_prompt() -> None:
    [counting] = chooser(frequency_penalty=0.5, presence_penalty=1).processors
    for token in (7, 7, 8):
        counting.accept(token)
    changed = counting.process(torch.zeros(VOCABULARY))

    assert (changed[7], changed[8], changed[3]) == (-2.0, -1.5, 0.0)
