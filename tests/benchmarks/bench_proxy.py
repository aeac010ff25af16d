"""What loam costs in front of a hosted upstream, and LiteLLM's proxy beside it, in one run.

The upstream is trivial and a process of its own, and so is each proxy. In every round each is asked in turn, so that
what else the machine does hits all alike. LiteLLM is measured if a virtual environment with `litellm[proxy]` is named
by `--litellm DIR` or LITELLM_VENV. Prints JSON; run with `python -m tests.benchmarks.bench_proxy`.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

ROUNDS = 5
SECONDS = 2.0
CONCURRENT = 32
START_S = 120.0
PATH = "/v1/chat/completions"
LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
"""It is to ask for nothing from elsewhere, and to serve without a key, as loam does on loopback."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litellm", default=os.environ.get("LITELLM_VENV"), help="a venv with litellm[proxy]")
    litellm = parser.parse_args().litellm
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream = stack.enter_context(trivial_upstream(Path(folder)))
        ports = {"direct": upstream, "loam": stack.enter_context(loam(Path(folder), upstream))}
        if litellm:
            ports["litellm"] = stack.enter_context(litellm_proxy(Path(litellm), Path(folder), upstream))
        uvloop.run(measured(ports, seconds=SECONDS, rounds=1))
        report = uvloop.run(measured(ports, seconds=SECONDS, rounds=ROUNDS))
    print(json.dumps(summary(report), indent=2))


@contextmanager
def trivial_upstream(folder: Path) -> Iterator[int]:
    port = free_port()
    with running([sys.executable, "-m", "tests.benchmarks.trivial_upstream", str(port)], folder / "upstream.log", {}):
        until_answering(f"http://127.0.0.1:{port}{PATH}")
        yield port


@contextmanager
def loam(folder: Path, upstream: int) -> Iterator[int]:
    models = [{"id": "m", "engine": "openai", "source": "m", "base_url": f"http://127.0.0.1:{upstream}/v1"}]
    settings = {"LOAM_HOME": str(folder / "home"), "LOAM_MODELS": json.dumps(models)}
    port = free_port()
    command = [str(Path(sys.executable).with_name("loam")), "serve", "--port", str(port)]
    with running(command, folder / "loam.log", settings):
        until_answering(f"http://127.0.0.1:{port}/readyz")
        yield port


@contextmanager
def litellm_proxy(venv: Path, folder: Path, upstream: int) -> Iterator[int]:
    params = {"model": "openai/m", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "none"}
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": params}]}))
    port = free_port()
    command = [str(venv / "bin" / "litellm"), "--config", str(config), "--port", str(port), "--num_workers", "1"]
    path = f"{(venv / 'bin').absolute()}{os.pathsep}{os.environ['PATH']}"
    with running(command, folder / "litellm.log", LITELLM | {"PATH": path}):
        until_answering(f"http://127.0.0.1:{port}/health/liveliness")
        yield port


@contextmanager
def running(command: Sequence[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOAM_")}
    with log.open("w") as said, subprocess.Popen(command, env=kept | environment, stdout=said, stderr=said) as process:
        try:
            yield
        finally:
            process.terminate()


def until_answering(url: str, within_s: float = START_S) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise SystemExit(f"Nothing answered at {url} within {within_s:.0f} s.")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def measured(ports: dict[str, int], *, seconds: float, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Give the durations of all requests of each way and kind, in seconds; throughput follows from their number."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in ports}
    for _ in range(rounds):
        for kind, (at_once, stream) in {
            "alone": (1, False),
            "requests": (CONCURRENT, False),
            "streams": (CONCURRENT, True),
        }.items():
            for name, port in ports.items():
                found[name].setdefault(kind, []).extend(await load(port, at_once, seconds, stream=stream))
    return found


async def load(port: int, at_once: int, seconds: float, *, stream: bool) -> list[float]:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello there"}], "stream": stream}
    content = json.dumps(body).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nauthorization: Bearer none\r\n"
    )
    request = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
    end = time.perf_counter() + seconds
    lists = await asyncio.gather(*(client(port, request, end) for _ in range(at_once)))
    return [duration for durations in lists for duration in durations]


async def client(port: int, request: bytes, end: float) -> list[float]:
    """Ask over one connection, again and again: a client library would cost more than what is measured."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    durations = []
    while (begun := time.perf_counter()) < end:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise SystemExit(f"Port {port} answered: {head.decode()}")
        if b"transfer-encoding: chunked" in head:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        else:
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        durations.append(time.perf_counter() - begun)
    writer.close()
    return durations


def summary(found: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    spent_s = ROUNDS * SECONDS
    report: dict[str, Any] = {"concurrent": CONCURRENT}
    direct = percentiles(found["direct"]["alone"])
    for name, kinds in found.items():
        alone = percentiles(kinds["alone"])
        report[name] = {"alone_ms": alone, "requests_per_s": round(len(kinds["requests"]) / spent_s, 1)}
        report[name] |= {"streams_per_s": round(len(kinds["streams"]) / spent_s, 1)}
        if name != "direct":
            report[name]["added_ms"] = {part: round(alone[part] - direct[part], 3) for part in alone}
    if "litellm" in found:
        for part in ("requests_per_s", "streams_per_s"):
            report[f"{part}_to_litellm_ratio"] = round(report["loam"][part] / report["litellm"][part], 2)
    return report


def percentiles(durations_s: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(durations_s, [50, 99]) * 1000
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


if __name__ == "__main__":
    main()
