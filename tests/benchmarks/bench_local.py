"""The local engine beside transformers on the same weights, in turns, in one process.

A Llama shape of 200M parameters, float32, random weights, 64 tokens in and 48 out: alone beside `generate`, sixteen at
once beside a static batch of sixteen and beside transformers' continuous batching, with eight adapters mixed beside
none; and the memory of an NF4 base with sixteen adapters. A ratio is ours to theirs in tokens a second, the median of
those of single rounds: over 1 is faster. `busy_ratio` is the same in seconds of processor time, which does not see
what else the machine does. Prints JSON; run with `python -m tests.benchmarks.bench_local`.
"""

import asyncio
import contextlib
import gc
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from services.engines.local.engine import Local
from services.engines.local.loaded import Limits
from services.engines.local.models import LocalModels
from tests.fakes.local import Asking, request
from tests.fakes.plain import Plain
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_model import tiny_model

ROUNDS = 5
TOKENS_IN, TOKENS_OUT, AT_ONCE = 64, 48, 16
ADAPTERS, RANK = 16, 16
SHAPE: dict[str, Any] = {
    "vocab_size": 32_000, "intermediate_size": 2816, "num_attention_heads": 16, "num_key_value_heads": 4,
    "head_dim": 64, "max_position_embeddings": 2048,
}  # fmt: skip
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "what", "is", "and", "the", "sum", "of", "all"]

Questions: TypeAlias = Sequence[Mapping[str, Any]]

_numbers = count()


def main() -> None:
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(sys.stderr):
        base = tiny_model(Path(made) / "base", hidden=1024, layers=12, **SHAPE)
        adapters = make_adapters(Path(made), base)
        report = {"memory": memory(base, adapters), **speed(base, adapters)}
    print(json.dumps(report, indent=2))


def make_adapters(folder: Path, base: Path) -> dict[Path, Any]:
    """One that PEFT makes, and others that are like it but for their numbers."""
    import torch
    from safetensors.torch import load_file, save_file

    first = folder / "adapter-0"
    manifest = tiny_adapter(first, base, rank=RANK)
    weights = load_file(first / "adapter_model.safetensors")
    for number in range(1, ADAPTERS):
        at = shutil.copytree(first, folder / f"adapter-{number}")
        other = {name: 0.02 * torch.randn_like(part) for name, part in weights.items()}
        save_file(other, at / "adapter_model.safetensors", metadata={"format": "pt"})
    return {folder / f"adapter-{number}": manifest for number in range(ADAPTERS)}


def memory(base: Path, adapters: Mapping[Path, Any]) -> dict[str, float]:
    """Count the bytes of all tensors there are, once every adapter has spoken, beside those of the files' weights."""
    from safetensors.torch import load_file

    with asking() as models:
        asked = Asking(models)
        asked.ids(asked.base(base, quantization="nf4"), max_tokens=4)
        [place] = models._places.values()
        assert place.loaded is not None
        alone = place.loaded.model.get_memory_footprint()
        before = resident_bytes()
        for at, manifest in adapters.items():
            asked.ids(asked.tuned(at, replace(manifest, quantization="nf4")), max_tokens=4)
        own = sum(part.nbytes for at in adapters for part in load_file(at / "adapter_model.safetensors").values())
        return {
            "base_bytes": alone,
            "adapters_bytes": own,
            "ratio_of_all_tensors_to_their_own_bytes": tensor_bytes() / (alone + own),
            "ratio_of_base_and_resident_growth_to_their_own_bytes": (alone + resident_bytes() - before) / (alone + own),
        }


def tensor_bytes() -> int:
    import torch

    gc.collect()
    storages = {}
    for one in gc.get_objects():
        if isinstance(one, torch.Tensor) and one.device.type != "meta":
            storages[one.untyped_storage().data_ptr()] = one.untyped_storage().nbytes()
    return sum(storages.values())


def resident_bytes() -> int:
    import psutil

    gc.collect()
    return int(psutil.Process().memory_info().rss)


@contextlib.contextmanager
def asking() -> Iterator[LocalModels]:
    models = LocalModels(most_bases=1, most_waiting=AT_ONCE, limits=Limits(most_at_once=AT_ONCE))
    yield models
    models.close()


def speed(base: Path, adapters: Mapping[Path, Any]) -> dict[str, Any]:
    plain = Plain(base)
    plain.model.generation_config.eos_token_id = None
    with asking() as models:
        asked = Asking(models)
        engine = asked.base(base)
        tuned = [asked.tuned(at, manifest) for at, manifest in list(adapters.items())[:8]]
        ways: dict[str, Callable[[Questions], int]] = {
            "generate_alone": lambda asked: generated(plain, asked[:1]),
            "local_alone": lambda asked: streamed([engine], asked[:1]),
            "static_batch_of_16": lambda asked: generated(plain, asked),
            "local_16": lambda asked: streamed([engine] * AT_ONCE, asked),
            "local_16_of_8_adapters": lambda asked: streamed(tuned * 2, asked),
            "transformers_continuous_16": lambda asked: continuous(plain, asked),
        }
        rates, busy = measured(ways, plain)
    pairs = {
        "alone_to_generate": ("local_alone", "generate_alone"),
        "16_to_static_batch": ("local_16", "static_batch_of_16"),
        "16_to_transformers_continuous": ("local_16", "transformers_continuous_16"),
        "8_adapters_to_none": ("local_16_of_8_adapters", "local_16"),
    }
    return {
        "tokens_a_second": {name: statistics.median(found) for name, found in rates.items()},
        "ratio": {name: of(rates, *pair) for name, pair in pairs.items()},
        "busy_ratio": {name: of(busy, *pair) for name, pair in pairs.items()},
    }


def of(found: Mapping[str, Sequence[float]], ours: str, theirs: str) -> float:
    return statistics.median(one / other for one, other in zip(found[ours], found[theirs], strict=True))


def measured(
    ways: Mapping[str, Callable[[Questions], int]], plain: Plain
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Give tokens a second of each way and round, and tokens a second of processor time; the first round warms up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            asked = [question(plain) for _ in range(AT_ONCE)]
            begun, worked = time.perf_counter(), time.process_time()
            tokens = way(asked)
            spent, spent_busy = time.perf_counter() - begun, time.process_time() - worked
            if number:
                rates[name].append(tokens / spent)
                busy[name].append(tokens / spent_busy)
        print({name: round(found[-1], 1) for name, found in rates.items() if found}, flush=True)
    return rates, busy


def question(plain: Plain) -> dict[str, Any]:
    """A question of just so many tokens that nobody has asked before."""
    draw = random.Random(next(_numbers))
    text = f"{draw.random()}"
    while len(plain.prompt(user(text))) < TOKENS_IN:
        longer = f"{text} {draw.choice(WORDS)}"
        text = longer if len(plain.prompt(user(longer))) <= TOKENS_IN else f"{text}."
    return user(text)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def generated(plain: Plain, asked: Questions) -> int:
    import torch

    ids = torch.tensor([plain.prompt(dict(message)) for message in asked])
    with torch.inference_mode():
        whole = plain.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS_OUT, do_sample=False
        )
    return int(whole[:, TOKENS_IN:].numel())


def continuous(plain: Plain, asked: Questions) -> int:
    from transformers import GenerationConfig

    prompts = [plain.prompt(dict(message)) for message in asked]
    config = GenerationConfig(max_new_tokens=TOKENS_OUT, do_sample=False, eos_token_id=-1, pad_token_id=0)
    attention = plain.model.config._attn_implementation
    try:
        answers = plain.model.generate_batch(inputs=prompts, generation_config=config)
    finally:
        plain.model.set_attn_implementation(attention)
    return sum(len(answer.generated_tokens) for answer in answers.values())


def streamed(engines: Sequence[Local], asked: Questions) -> int:
    """Ask all at once and give how many tokens came."""

    async def one(engine: Local, message: Mapping[str, Any]) -> int:
        wanted = request(dict(message), max_tokens=TOKENS_OUT, stream_options={"include_usage": True})
        *_, last = [chunk async for chunk in engine.stream(wanted)]
        return int(last["usage"]["completion_tokens"])

    async def main() -> int:
        return sum(await asyncio.gather(*map(one, engines, asked)))

    return asyncio.run(main())


if __name__ == "__main__":
    main()
