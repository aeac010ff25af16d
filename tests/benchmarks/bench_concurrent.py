"""Searches one at a time and many at once, over the same store in the same process, with and without shared batches.

SciFact's abstracts and questions, the whole way of a search: SQLite, both indexes, the embedder. Beside them the
embedder by itself, one question at a time and as many as are asked at once in one batch: no search can gain more than
that where all cores embed. Prints JSON.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from rag.encoders.embed import open_embedder
from rag.encoders.embed_shared import SharedEmbedder
from rag.ports import Embedder
from services.settings import Settings
from services.storage.tables import DEFAULT_PROJECT
from services.storage.vector_stores import create_store
from services.wiring import Services, open_services

AT_ONCE = 64
DOCUMENTS = 1000
QUESTIONS = 320
ROUNDS = 5
SCIFACT = Path(__file__).parents[3] / "shared/data/retrieval/scifact"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        embedder = open_embedder(settings.embedder, cache_dir=settings.cache)
        services = open_services(settings, lambda: SharedEmbedder(embedder))
        store_id = filled(services, Path(folder) / "texts")
        report = compared(services, store_id, embedder)
        services.close()
    print(json.dumps(report, indent=2))


def filled(services: Services, folder: Path) -> str:
    """Ingest the abstracts and give the store's id."""
    folder.mkdir()
    for row in map(json.loads, (SCIFACT / "corpus.jsonl").read_text().splitlines()[:DOCUMENTS]):
        (folder / f"{row['_id']}.txt").write_text(f"{row['title']}\n\n{row['text']}")
    from services.folders import walk

    with services.database.write() as database:
        store = create_store(database, DEFAULT_PROJECT, name="scifact", embedder=services.settings.embedder)
        store_id = store.id
    worker = services.new_worker()
    added = list(services.ingestion.add_paths(DEFAULT_PROJECT, store_id, walk([folder]), owner=worker.owner))
    worker.run_until_idle([one.job_id for one in added if one.job_id is not None])
    return store_id


def compared(services: Services, store_id: str, embedder: Embedder) -> dict[str, Any]:
    """Take turns: one at a time, 64 at once, and 64 at once when each is embedded by itself."""
    questions = [json.loads(line)["text"] for line in (SCIFACT / "queries_test.jsonl").read_text().splitlines()]
    questions = (questions * 2)[:QUESTIONS]
    shared = services.embedder

    def search(question: str) -> object:
        return services.searching.search(DEFAULT_PROJECT, [store_id], question)

    def throughput(embed_with: Embedder, at_once: int) -> float:
        services.__dict__["embedder"] = embed_with
        return QUESTIONS / seconds(search, questions, at_once)

    def embedded(size: int) -> float:
        begun = time.perf_counter()
        for start in range(0, QUESTIONS, size):
            embedder.embed(questions[start : start + size])
        return QUESTIONS / (time.perf_counter() - begun)

    ways: dict[str, Callable[[], float]] = {
        "one_at_a_time": lambda: throughput(shared, 1),
        "at_once": lambda: throughput(shared, AT_ONCE),
        "at_once_embedded_alone": lambda: throughput(embedder, AT_ONCE),
        "embedding_one_at_a_time": lambda: embedded(1),
        "embedding_at_once": lambda: embedded(AT_ONCE),
    }
    for way in ways.values():
        way()
    runs: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            runs[name].append(way())
    return {
        "at_once": AT_ONCE,
        "queries_a_second": {name: median(found) for name, found in runs.items()},
        "ratio_to_one_at_a_time": _ratio(runs["at_once"], runs["one_at_a_time"]),
        "ratio_of_embedding": _ratio(runs["embedding_at_once"], runs["embedding_one_at_a_time"]),
    }


def _ratio(many: Sequence[float], one: Sequence[float]) -> float:
    return median(each / alone for each, alone in zip(many, one, strict=True))


def seconds(search: Callable[[str], object], questions: Sequence[str], at_once: int) -> float:
    with ThreadPoolExecutor(at_once) as pool:
        begun = time.perf_counter()
        for _ in pool.map(search, questions):
            pass
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
