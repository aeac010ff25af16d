"""How `loam finetune check` tells people what it found."""

from finetune.data.lengths import Shown
from finetune.types import METHODS
from services.cli import finetune


def test_what_is_learned_stands_between_marks() -> None:
    assert finetune._marked(Shown(text="ask: a\nsay: b\n", spans=((12, 13),))) == "ask: a\nsay: ⟦b⟧\n"


def test_a_long_sample_says_how_much_is_left_out() -> None:
    assert finetune._marked(Shown(text="a" * 2010, spans=())) == "a" * 2000 + "… (10 characters more)"


def test_the_methods_offered_are_those_there_are() -> None:
    assert tuple(METHODS) == finetune.METHODS
