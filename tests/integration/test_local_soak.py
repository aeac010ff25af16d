"""Five hundred requests of all kinds, thirty-two at once, of which many leave: nothing is left behind."""

import asyncio
import gc
import random
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from services.engines.local.engine import Local
from services.engines.local.loaded import Limits
from services.engines.local.models import LocalModels
from services.errors import BadRequest
from tests.fakes.local import Asking, request
from tests.fakes.plain import Plain
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_model import tiny_model

REQUESTS, AT_ONCE, SLOTS = 500, 32, 16
GROWTH_BYTES = 64 << 20
KINDS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.3, "top_p": 0.9, "seed": 1},
    {"n": 3, "temperature": 1},
    {"logprobs": True, "top_logprobs": 3, "frequency_penalty": 1},
    {"stop": ["e"], "max_tokens": 30},
    {"max_tokens": 40, "logit_bias": {"70": 5}},
    {"logit_bias": {"4000": 1}},
    {"response_format": {"type": "json_object"}, "temperature": 1, "max_tokens": 30},
]


@pytest.fixture
def asking() -> Iterator[Asking]:
    models = LocalModels(most_bases=1, most_waiting=AT_ONCE, limits=Limits(most_at_once=SLOTS))
    yield Asking(models)
    models.close()


def test_nothing_is_left_behind(asking: Asking, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "tiny")
    tuned = [asking.tuned(tmp_path / name, tiny_adapter(tmp_path / name, base, seed=ord(name))) for name in "ab"]
    engines = [asking.base(base), *tuned]
    draw = random.Random(0)
    told = asyncio.run(crowd(engines, draw, REQUESTS // 5))
    before = resident_bytes()
    told += asyncio.run(crowd(engines, draw, REQUESTS - REQUESTS // 5))

    assert resident_bytes() - before < GROWTH_BYTES
    assert (len(told), set(told)) == (REQUESTS, {"answered", "left", "refused"})
    [place] = asking.models._places.values()
    assert place.loaded is not None
    batch = place.loaded._batch
    assert (batch.is_idle, batch.rows.busy, batch.adapters, place.lane._errands) == (True, 0, set(), [])
    with torch.inference_mode():
        batch.rows.trim(0)
    assert batch.rows.size_bytes == 0
    assert asking.ids(engines[0]) == Plain(base).generated()


async def crowd(engines: list[Local], draw: random.Random, count: int) -> list[str]:
    """Ask so many times, and give what became of each."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> str:
        engine, kind = draw.choice(engines), draw.choice(KINDS)
        message = {"role": "user", "content": f"{number % 7} and " + "two " * draw.randint(1, 120)}
        leaves_after = draw.randint(1, 12) if draw.random() < 0.3 else None
        async with gate, aclosing(engine.stream(request(message, **kind))) as chunks:
            seen = 0
            try:
                async for _ in chunks:
                    seen += 1
                    if seen == leaves_after:
                        return "left"
            except BadRequest:
                return "refused"
        return "answered"

    told = await asyncio.gather(*(one(number) for number in range(count)))
    return list(told)


def resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)
