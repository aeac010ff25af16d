"""What a query costs over 10,000 chunks, and the text index beside SQLite's FTS5 and bm25s, in one run.

The texts and questions are SciFact's, each abstract cut in two. The vectors are random: an exact
search takes as long whatever they are. Prints JSON; run with `python -m tests.benchmarks.bench_query`.
"""

import json
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

CHUNKS = 10_000
ROUNDS = 3
DEPTH = 100
WARM_UP = 20
SCIFACT = Path(__file__).parents[3] / "shared/data/retrieval/scifact"


def main() -> None:
    texts, questions = chunk_texts(), question_texts()
    with tempfile.TemporaryDirectory() as folder:
        report = {"chunks": len(texts), "questions": len(questions)}
        report["query_ms"] = query(texts, questions, Path(folder))
        report["text_search_ms"] = text_search(texts, questions, Path(folder))
    print(json.dumps(report, indent=2))


def chunk_texts() -> list[str]:
    rows = [json.loads(line) for line in (SCIFACT / "corpus.jsonl").read_text().splitlines()]
    halves = ((row["text"][: len(row["text"]) // 2], row["text"][len(row["text"]) // 2 :]) for row in rows)
    return [half for pair in halves for half in pair][:CHUNKS]


def question_texts() -> list[str]:
    return [json.loads(line)["text"] for line in (SCIFACT / "queries_test.jsonl").read_text().splitlines()]


def query(texts: Sequence[str], questions: Sequence[str], folder: Path) -> dict[str, Any]:
    """Embed, search both indexes, fuse and fetch, on one thread, beside a bare search; and a start from the disk."""
    from rag.encoders.embed import open_embedder
    from rag.index import StoreIndex
    from rag.retrieve import retrieve
    from tests.benchmarks.bare import Bare, flat_index, graph_folder

    cache = platformdirs.user_cache_path("loam")
    embedder = open_embedder("all-MiniLM-L6-v2", cache_dir=cache, threads=1)
    source = memory_source(texts, embedder.dimensions)

    def opened() -> StoreIndex:
        index = StoreIndex(folder / "store", embedder_id=embedder.id, dimensions=embedder.dimensions)
        index.sync(source)
        return index

    built_s, start_s = seconds(opened), seconds(opened)
    index = opened()
    bare = Bare(graph_folder(cache), flat_index(np.stack([row.vectors[0] for row in source.rows(source.chunk_ids())])))
    times = timed(
        {
            "all": lambda text: retrieve(text, index=index, source=source, embedder=embedder),
            "bare": bare.search,
            "embedding": lambda text: embedder.embed([text]),
        },
        questions,
    )
    report: dict[str, Any] = {name: percentiles(taken) for name, taken in times.items()}
    report["ratio_of_all_to_bare"] = round(report["all"]["p50"] / report["bare"]["p50"], 2)
    return report | {"index_built_s": built_s, "index_opened_s": start_s}


def memory_source(texts: Sequence[str], dimensions: int) -> Any:
    from tests.fakes.chunk_source import MemorySource

    vectors = np.random.default_rng(0).normal(size=(len(texts), dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    source = MemorySource()
    for chunk_id, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        source.add(chunk_id, text, vector)
    return source


def text_search(texts: Sequence[str], questions: Sequence[str], folder: Path) -> dict[str, Any]:
    """Time the same questions in three text indexes, in turns, and what each takes to build and to grow by one."""
    report: dict[str, Any] = {}
    searches: dict[str, Callable[[str], object]] = {}
    for name, build in (("tantivy", tantivy), ("fts5", fts5), ("bm25s", bm25s)):
        begun = time.perf_counter()
        searches[name], add_one = build(texts, folder)
        report[name] = {"built_s": round(time.perf_counter() - begun, 3), "one_more_chunk_s": seconds(add_one)}
    times = timed(searches, questions)
    report = {name: report[name] | percentiles(times[name]) for name in searches}
    for name in ("fts5", "bm25s"):
        report[f"{name}_to_tantivy_ratio"] = report[name]["p50"] / report["tantivy"]["p50"]
    return report


def tantivy(texts: Sequence[str], folder: Path) -> tuple[Callable[[str], object], Callable[[], object]]:
    from rag.lexical import TextIndex

    nothing = np.empty(0, dtype=np.int64)
    source = memory_source(texts, 1)
    index = TextIndex(folder / "text")
    index.update(add=source.rows(source.chunk_ids()), remove=nothing)
    source.add(CHUNKS, "one more", np.ones(1, dtype=np.float32))
    return (
        lambda question: index.search(question, DEPTH),
        lambda: index.update(add=source.rows(np.array([CHUNKS])), remove=nothing),
    )


def fts5(texts: Sequence[str], folder: Path) -> tuple[Callable[[str], object], Callable[[], object]]:
    from bm25s.stopwords import STOPWORDS_EN

    database = sqlite3.connect(folder / "fts5.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE VIRTUAL TABLE chunks USING fts5(text, tokenize = 'porter unicode61')")
    database.execute("BEGIN")
    database.executemany("INSERT INTO chunks (text) VALUES (?)", [(text,) for text in texts])
    database.execute("COMMIT")
    statement = "SELECT rowid, bm25(chunks) FROM chunks WHERE chunks MATCH ? ORDER BY rank LIMIT ?"

    def search(question: str) -> object:
        words = [word for word in re.findall(r"\w+", question.lower()) if word not in STOPWORDS_EN]
        return database.execute(statement, (" OR ".join(f'"{word}"' for word in words), DEPTH)).fetchall()

    return search, lambda: database.execute("INSERT INTO chunks (text) VALUES ('one more')")


def bm25s(texts: Sequence[str], folder: Path) -> tuple[Callable[[str], object], Callable[[], object]]:
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")

    def build() -> Any:
        index = bm25s.BM25()
        index.index(bm25s.tokenize(list(texts), stemmer=stemmer, show_progress=False), show_progress=False)
        index.save(folder / "bm25s")
        return index

    index = build()

    def search(question: str) -> object:
        words = bm25s.tokenize(question, stemmer=stemmer, show_progress=False)
        return index.retrieve(words, k=DEPTH, show_progress=False)

    return search, build  # It cannot grow: one more chunk is a new index.


def timed(ways: Mapping[str, Callable[[str], object]], questions: Sequence[str]) -> dict[str, list[float]]:
    """The seconds that each way takes for each question, in turns: whoever else uses the machine slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for question in [*questions[:WARM_UP], *(list(questions) * ROUNDS)]:
        for name, act in ways.items():
            begun = time.perf_counter()
            act(question)
            times[name].append(time.perf_counter() - begun)
    return {name: taken[WARM_UP:] for name, taken in times.items()}


def percentiles(durations_s: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(durations_s, [50, 99]) * 1000
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return round(time.perf_counter() - begun, 3)


if __name__ == "__main__":
    main()
