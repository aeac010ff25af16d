"""How `loam finetune check` tells people what it found."""

import pytest

from finetune.lengths import Shown
from finetune.problems import Place
from finetune.types import METHODS
from services.cli import finetune


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([Place(0)], "the file"),
        ([Place(7)], "line 7"),
        ([Place(1), Place(2), Place(3), Place(9)], "lines 1-3, 9"),
        ([Place(12, 3)], "item 3 (line 12)"),
        ([Place(12, 3), Place(20, 4)], "items 3-4"),
    ],
)
def test_places_are_drawn_together(places: list[Place], said: str) -> None:
    assert finetune._lines(places) == said


def test_what_is_learned_stands_between_marks() -> None:
    assert finetune._marked(Shown(text="ask: a\nsay: b\n", spans=((12, 13),))) == "ask: a\nsay: ⟦b⟧\n"


def test_a_long_sample_says_how_much_is_left_out() -> None:
    assert finetune._marked(Shown(text="a" * 2010, spans=())) == "a" * 2000 + "… (10 characters more)"


def test_the_methods_offered_are_those_there_are() -> None:
    assert tuple(METHODS) == finetune.METHODS
