"""Our embedder, also in int8, beside a bare OpenVINO loop and sentence-transformers: one set of weights, in turns.

Passages and questions are SQuAD's. Prints JSON; run with `python -m tests.benchmarks.bench_embed`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODEL = "all-MiniLM-L6-v2"
PASSAGES = 300
QUESTIONS = 500
ROUNDS = 5
STREAMS = 2
BATCH = 8
SQUAD = Path(__file__).parents[3] / "shared/data/qa/squad/dev-v1.1.part.json"

Vectors = NDArray[np.float32]

# A process of its own, so that the peak is the embedder's and not sentence-transformers'.
ALONE = """
import json, re, sys, time
begun = time.perf_counter()
from pathlib import Path
from rag.encoders.embed import open_embedder
embedder = open_embedder(sys.argv[1], cache_dir=Path(sys.argv[2]))
opened_s = time.perf_counter() - begun
embedder.embed(json.load(sys.stdin))
# Not getrusage: that counts what the parent had at the fork.
peak_mb = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
print(json.dumps({"opened_s": round(opened_s, 3), "peak_rss_mb": peak_mb, "torch": "torch" in sys.modules}))
"""


def main() -> None:
    passages, questions = texts()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(os.environ.get("LOAM_TEST_CACHE") or folder)
        report = throughput(passages, cache) | {
            "question_ms": latency(questions, cache),
            "process": alone(passages, cache),
        }
    print(json.dumps(report, indent=2))


def texts() -> tuple[list[str], list[str]]:
    articles = json.loads(SQUAD.read_text())["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    questions = [asked["question"] for paragraph in paragraphs for asked in paragraph["qas"]]
    return [paragraph["context"] for paragraph in paragraphs][:PASSAGES], questions[:: len(questions) // QUESTIONS]


def throughput(passages: Sequence[str], cache: Path) -> dict[str, Any]:
    """Median tokens a second of each, and ours as a multiple of the others in the same round."""
    from rag.encoders.embed import open_embedder

    ours = open_embedder(MODEL, cache_dir=cache)
    ways = {
        "loam": ours.embed,
        "loam_int8": open_embedder(MODEL, cache_dir=cache, precision="int8").embed,
        "bare_openvino": bare_openvino(cache),
        "sentence_transformers": sentence_transformers(),
    }
    vectors = {name: embed(passages) for name, embed in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, embed in ways.items():
            times[name].append(seconds(embed, passages))
    tokens = sum(len(encoding.ids) for encoding in ours.tokenizer.encode_batch(list(passages)))
    return {
        "tokens_per_s": {name: round(tokens / statistics.median(taken)) for name, taken in times.items()},
        "ratio": {
            f"{name}_time_to_loam": round(
                statistics.median(theirs / own for theirs, own in zip(taken, times["loam"], strict=True)), 2
            )
            for name, taken in times.items()
            if name != "loam"
        },
        "least_cosine_with_sentence_transformers": round(
            float((vectors["loam"] * vectors["sentence_transformers"]).sum(axis=1).min()), 6
        ),
    }


def sentence_transformers() -> Callable[[Sequence[str]], Vectors]:
    from sentence_transformers import SentenceTransformer

    from rag.encoders.embed_source import find_source

    with tempfile.TemporaryDirectory() as folder:
        source = find_source(MODEL, cache_dir=Path(folder), download=False)
    model = SentenceTransformer(str(source.folder), device="cpu")
    return lambda passages: np.asarray(model.encode(list(passages), show_progress_bar=False))


def bare_openvino(cache: Path) -> Callable[[Sequence[str]], Vectors]:
    """The shortest loop that does the work well: sorted by length, equal batches, two streams."""
    import openvino
    from tokenizers import Tokenizer

    from rag.encoders.graph import default_precision

    graph_file = next(cache.glob(f"*-{default_precision()}/graph.xml"))
    tokenizer = Tokenizer.from_file(str(graph_file.with_name("tokenizer.json")))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    graph = openvino.Core().compile_model(graph_file, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": STREAMS})

    def embed(passages: Sequence[str]) -> Vectors:
        order = sorted(range(len(passages)), key=lambda row: len(passages[row]))
        vectors = np.empty((len(passages), 384), dtype=np.float32)
        queue = openvino.AsyncInferQueue(graph, STREAMS)

        def keep(request: Any, rows: list[int]) -> None:
            vectors[rows] = request.get_output_tensor(0).data

        queue.set_callback(keep)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            encodings = tokenizer.encode_batch([passages[row] for row in rows])
            fields = {
                "input_ids": np.array([encoding.ids for encoding in encodings]),
                "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
                "token_type_ids": np.array([encoding.type_ids for encoding in encodings]),
            }
            queue.start_async(fields, rows)
        queue.wait_all()
        return vectors

    return embed


def latency(questions: Sequence[str], cache: Path) -> dict[str, float]:
    from rag.encoders.embed import open_embedder

    embedder = open_embedder(MODEL, cache_dir=cache)
    taken = [seconds(embedder.embed, [question]) * 1000 for question in questions]
    return {f"p{share}": round(float(np.percentile(taken, share)), 2) for share in (50, 99)}


def alone(passages: Sequence[str], cache: Path) -> Any:
    command = [sys.executable, "-c", ALONE, MODEL, str(cache)]
    done = subprocess.run(command, input=json.dumps(passages), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def seconds(embed: Callable[[Sequence[str]], object], given: Sequence[str]) -> float:
    begun = time.perf_counter()
    embed(given)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
