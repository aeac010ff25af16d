import random

import numpy as np
import torch

from finetune.train.randomness import apart, restore, state


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_what_is_drawn_apart_leaves_no_trace() -> None:
    earlier = state()
    expected = drawn()
    restore(earlier)
    with apart():
        drawn()
    assert drawn() == expected


def test_an_earlier_state_is_gone_back_to_whatever_was_drawn() -> None:
    earlier = state()
    first = drawn()
    assert drawn() != first
    restore(earlier)
    assert drawn() == first
