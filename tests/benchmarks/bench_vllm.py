"""What loam costs in front of a vLLM server: asked directly and through `loam serve`, in turns, in one run.

Llama shapes, float32, random weights, some 64 tokens in, all streamed. For the time to the first token a model of two
small layers, since a large one's own time varies by more than loam adds: one request after another, each way in turn,
and what is added is the median of the differences within pairs. For tokens a second 200M parameters, 32 at once with 48
tokens out, and the ratio is the median of those of single rounds; after three minutes no further round begins. Needs
`make vllm` (VLLM_VENV). Prints JSON; run with `python -m tests.benchmarks.bench_vllm`.
"""

import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from services.engines.vllm.launch import Launch
from tests.benchmarks.bench_local import SHAPE, TOKENS_IN, TOKENS_OUT, WORDS
from tests.benchmarks.bench_proxy import PATH, free_port, running, until_answering
from tests.fakes.tiny_model import tiny_model

ROUNDS = 5
WITHIN_S = 180.0
CONCURRENT = 32
PAIRS, WARM_PAIRS = 200, 5
VENV = Path(os.environ.get("VLLM_VENV", ".venv-vllm"))
ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1"}

_numbers = count()


@dataclass(frozen=True)
class Streamed:
    """One answer: when its first token came, in seconds since it was asked for, and how many there were."""

    first_s: float
    tokens: int


def main() -> None:
    python = VENV / "bin" / "python"
    if not python.exists():
        sys.exit("There is no vLLM: make vllm")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with contextlib.redirect_stdout(sys.stderr):
            small = tiny_model(folder / "small", hidden=256, max_position_embeddings=2048)
            large = tiny_model(folder / "large", hidden=1024, layers=12, **SHAPE)
        with both_ways(python, small, folder) as ports:
            report = uvloop.run(first_tokens(ports))
        with both_ways(python, large, folder) as ports:
            report |= uvloop.run(throughput(ports))
    print(json.dumps(report, indent=2))


@contextmanager
def both_ways(python: Path, base: Path, folder: Path) -> Iterator[dict[str, int]]:
    with vllm(python, base, folder) as direct, loam(folder, direct) as through:
        yield {"direct": direct, "loam": through}


@contextmanager
def vllm(python: Path, base: Path, folder: Path) -> Iterator[int]:
    launch = Launch(
        python=python.absolute(),
        name="m",
        folder=base,
        dtype="float32",
        rank=0,
        adapters=1,
        args=("--enforce-eager", "--max-model-len", "1024"),
    )
    port = free_port()
    with running(launch.command(port), folder / "vllm.log", ON_CPU):
        until_answering(f"http://127.0.0.1:{port}/health", within_s=600)
        yield port


@contextmanager
def loam(folder: Path, upstream: int) -> Iterator[int]:
    models = [{"id": "m", "engine": "vllm", "source": "m", "base_url": f"http://127.0.0.1:{upstream}/v1"}]
    port = free_port()
    command = [str(Path(sys.executable).with_name("loam")), "serve", "--port", str(port)]
    settings = {"LOAM_HOME": str(folder / "home"), "LOAM_MODELS": json.dumps(models)}
    with running(command, folder / "loam.log", settings):
        until_answering(f"http://127.0.0.1:{port}/readyz")
        yield port


async def first_tokens(ports: Mapping[str, int]) -> dict[str, Any]:
    found: dict[str, list[float]] = {name: [] for name in ports}
    for pair in range(-WARM_PAIRS, PAIRS):
        # Who comes first in a pair is changed with every one.
        for name, port in sorted(ports.items(), reverse=bool(pair % 2)):
            answer = await ask(port, tokens=1)
            if pair >= 0:
                found[name].append(answer.first_s)
    added = [ours - theirs for ours, theirs in zip(found["loam"], found["direct"], strict=True)]
    each = {name: ms(seconds) for name, seconds in found.items()}
    return {"first_token_ms_p50": each, "added_first_token_ms_p50": ms(added), "pairs": PAIRS}


async def throughput(ports: Mapping[str, int]) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in ports}
    first: dict[str, list[float]] = {name: [] for name in ports}
    end = time.monotonic() + WITHIN_S
    for number in range(ROUNDS + 1):
        if number > 1 and time.monotonic() > end:
            break
        for name, port in sorted(ports.items(), reverse=bool(number % 2)):
            began = time.perf_counter()
            together = await asyncio.gather(*(ask(port, tokens=TOKENS_OUT) for _ in range(CONCURRENT)))
            if number:
                rates[name].append(sum(answer.tokens for answer in together) / (time.perf_counter() - began))
                first[name] += [answer.first_s for answer in together]
        print({name: round(found[-1], 1) for name, found in rates.items() if found}, file=sys.stderr, flush=True)
    ratios = [ours / theirs for ours, theirs in zip(rates["loam"], rates["direct"], strict=True)]
    return {
        "concurrent": CONCURRENT,
        "tokens_in": TOKENS_IN,
        "tokens_out": TOKENS_OUT,
        "tokens_per_s": {name: round(statistics.median(found), 1) for name, found in rates.items()},
        "first_token_of_32_ms_p50": {name: ms(seconds) for name, seconds in first.items()},
        "tokens_per_s_ratio": round(statistics.median(ratios), 3),
        "tokens_per_s_ratios": [round(ratio, 3) for ratio in ratios],
    }


def ms(seconds: Any) -> float:
    return round(statistics.median(seconds) * 1000, 2)


def question() -> str:
    draw = random.Random(next(_numbers))
    return " ".join([str(draw.random())[2:8], *draw.choices(WORDS, k=TOKENS_IN // 3)])


async def ask(port: int, *, tokens: int) -> Streamed:
    """Ask over a connection of its own: a client library would cost more than what is measured."""
    body = {
        "model": "m", "messages": [{"role": "user", "content": question()}], "max_tokens": tokens,
        "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    content = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n"
    began = time.perf_counter()
    writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"Port {port} answered: {status + await reader.read()!r}")
    await reader.readuntil(b"data: ")
    first_s = time.perf_counter() - began
    said = await reader.read()
    writer.close()
    usage = json.loads(
        said[said.rindex(b'"completion_tokens"') :].partition(b":")[2].partition(b",")[0].rstrip(b"}\r\n")
    )
    return Streamed(first_s, tokens=usage)


if __name__ == "__main__":
    main()
