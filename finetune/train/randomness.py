"""The state of every random number generator that a training draws from."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

State: TypeAlias = tuple[Any, Any, Any, list[Any]]
"""Of Python, numpy, torch on the CPU, and torch on each GPU."""


def state() -> State:
    """Give the present state."""
    import numpy as np
    import torch

    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.random.get_rng_state(), gpus


def restore(earlier: State) -> None:
    """Go back to an earlier state."""
    import numpy as np
    import torch

    python, numpy, cpu, gpus = earlier
    random.setstate(python)
    np.random.set_state(numpy)
    torch.random.set_rng_state(cpu)
    if gpus:
        torch.cuda.set_rng_state_all(gpus)


@contextmanager
def apart() -> Iterator[None]:
    """Let what is drawn within leave no trace in what is drawn after."""
    earlier = state()
    try:
        yield
    finally:
        restore(earlier)
