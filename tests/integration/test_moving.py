"""A store moves to another embedder whole, or stays whole as it was."""

import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from rag.errors import EmbedderMismatch
from rag.ports import Vectors
from services.embedders import Embedders
from services.errors import BadRequest, NotFound
from services.folders import walk
from services.moving import Moved, move_store
from services.storage.documents import delete_store
from services.storage.tables import DEFAULT_PROJECT, DocumentRow, VectorRow, VectorStoreRow, WindowRow
from services.storage.vector_stores import create_store, find_store
from services.wiring import Services
from tests.fakes.embedder import WordEmbedder

TUNED = "ft:words:default::1"


class Tuned(WordEmbedder):
    """Knows that `copper` and `metal` are near, and has twice as many dimensions."""

    name = TUNED
    id = "tuned-1"
    dimensions = 128

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.seen.extend(texts)
        vectors = np.full((len(texts), self.dimensions), 1e-6, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace("metal", "copper").split():
                vectors[row, zlib.crc32(word.encode()) % self.dimensions] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Two(Embedders):
    """The words' embedder, and the tuned one as if it were registered."""

    def __init__(self, services: Services, tuned: Tuned) -> None:
        super().__init__(services.database, lambda: services.embedder, lambda folder, name: tuned)

    def _folder(self, project_id: str, name: str) -> Path | None:
        return Path("tuned") if name == TUNED else None


@pytest.fixture
def tuned() -> Tuned:
    return Tuned()


@pytest.fixture
def both(services: Services, tuned: Tuned) -> Services:
    services.embedders = Two(services, tuned)
    return services


@pytest.fixture
def store(both: Services, tmp_path: Path) -> str:
    return filled(both, tmp_path / "docs", "docs")


def filled(services: Services, folder: Path, name: str) -> str:
    with services.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name=name, embedder="words").id
    write(folder, "pipes.txt", "copper pipes in old houses\n")
    write(folder, "ships.txt", "wooden ships on deep water\n")
    ingest(services, store, folder)
    return store


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def ingest(services: Services, store: str, folder: Path) -> None:
    worker = services.new_worker()
    added = list(services.ingestion.add_paths(DEFAULT_PROJECT, store, walk([folder]), owner=worker.owner))
    worker.run_until_idle([one.job_id for one in added if one.job_id])


def move(services: Services, store: str, embedder: WordEmbedder, **options: Callable[[int, int], None]) -> Moved:
    return move_store(services.database, DEFAULT_PROJECT, store, embedder, name=embedder.name, **options)


def cosines(services: Services, store: str, query: str = "metal") -> dict[str, float]:
    hits = services.searching.search(DEFAULT_PROJECT, [store], query)
    return {hit.passage.filename: round(hit.cosine or 0, 3) for hit in hits}


def made_with(services: Services, store: str) -> str:
    with services.database.read() as session:
        row = find_store(session, DEFAULT_PROJECT, store)
        assert row is not None
        return row.embedder


def vectors_in_use(services: Services) -> tuple[set[bytes], set[bytes]]:
    with services.database.read() as session:
        return set(session.scalars(select(VectorRow.key))), set(session.scalars(select(WindowRow.vector_key)))


def test_a_moved_store_is_searched_with_the_new_embedder_alone(both: Services, store: str, tuned: Tuned) -> None:
    assert cosines(both, store)["pipes.txt"] == 0
    assert move(both, store, tuned) == Moved(windows=2, embedded=2)
    assert cosines(both, store)["pipes.txt"] > 0.4
    assert made_with(both, store) == TUNED
    kept, used = vectors_in_use(both)
    assert kept == used


def test_the_chunks_and_their_ids_stay(both: Services, store: str, tuned: Tuned) -> None:
    before = {hit.passage.chunk_id for hit in both.searching.search(DEFAULT_PROJECT, [store], "copper ships")}
    move(both, store, tuned)
    assert {hit.passage.chunk_id for hit in both.searching.search(DEFAULT_PROJECT, [store], "copper ships")} == before


def test_two_stores_with_two_embedders_answer_side_by_side(
    both: Services, store: str, tuned: Tuned, tmp_path: Path
) -> None:
    other = filled(both, tmp_path / "more", "more")
    move(both, store, tuned)
    assert cosines(both, store)["pipes.txt"] > 0.4
    assert cosines(both, other)["pipes.txt"] == 0
    assert len(both.searching.search(DEFAULT_PROJECT, [store, other], "copper")) == 4


def test_what_is_ingested_later_is_embedded_with_the_new_embedder(
    both: Services, store: str, tuned: Tuned, tmp_path: Path
) -> None:
    move(both, store, tuned)
    tuned.seen.clear()
    write(tmp_path / "docs", "coins.txt", "a metal coin\n")
    ingest(both, store, tmp_path / "docs")
    assert "a metal coin" in tuned.seen
    assert cosines(both, store, "copper")["coins.txt"] > 0.4


def test_the_size_of_the_vectors_counts(both: Services, store: str, tuned: Tuned) -> None:
    def usage() -> list[int]:
        with both.database.read() as session:
            return list(session.scalars(select(DocumentRow.usage_bytes).order_by(DocumentRow.seq)))

    before = usage()
    move(both, store, tuned)
    assert usage() == [size + 64 * 4 for size in before]


def test_searches_use_the_old_vectors_until_all_new_ones_are_made(both: Services, store: str, tuned: Tuned) -> None:
    seen: list[dict[str, float]] = []
    move(both, store, tuned, tell=lambda done, total: seen.append(cosines(both, store)))
    assert [found["pipes.txt"] for found in seen] == [0]


def test_a_move_that_breaks_off_leaves_the_store_as_it_was_and_is_gone_on_with(
    both: Services, store: str, tuned: Tuned
) -> None:
    def killed(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(both, store, tuned, tell=killed)
    assert (made_with(both, store), cosines(both, store, "copper")["pipes.txt"] > 0.4) == ("words", True)
    assert move(both, store, tuned) == Moved(windows=2, embedded=0)


def test_what_is_ingested_during_a_move_is_moved_too(both: Services, store: str, tuned: Tuned, tmp_path: Path) -> None:
    def meanwhile(done: int, total: int) -> None:
        if done == 2:
            write(tmp_path / "docs", "coins.txt", "a metal coin\n")
            ingest(both, store, tmp_path / "docs")

    assert move(both, store, tuned, tell=meanwhile) == Moved(windows=3, embedded=3)
    assert cosines(both, store, "copper")["coins.txt"] > 0.4


def test_what_was_embedded_before_the_switch_and_stored_after_is_embedded_again(
    both: Services, store: str, tuned: Tuned, tmp_path: Path
) -> None:
    class Slow(WordEmbedder):
        """The store is moved away while this one embeds."""

        def embed(self, texts: Sequence[str]) -> Vectors:
            if "a metal coin" in texts:
                move(both, store, tuned)
            return super().embed(texts)

    both.embedder = Slow()
    write(tmp_path / "docs", "coins.txt", "a metal coin\n")
    ingest(both, store, tmp_path / "docs")
    assert cosines(both, store, "copper")["coins.txt"] > 0.4
    kept, used = vectors_in_use(both)
    assert kept == used


def test_an_index_never_holds_vectors_of_two_embedders(both: Services, store: str, tuned: Tuned) -> None:
    """A search that began before the switch reads its rows after it."""
    began, may_go_on = threading.Event(), threading.Event()

    class Waiting(WordEmbedder):
        @property
        def dimensions(self) -> int:  # type: ignore[override]
            # Asked for between the look at the store and the reading of its vectors.
            began.set()
            may_go_on.wait(10)
            return 64

    both.embedder = Waiting()
    found: list[dict[str, float]] = []
    searching = threading.Thread(target=lambda: found.append(cosines(both, store)))
    searching.start()
    assert began.wait(10)
    move(both, store, tuned)
    may_go_on.set()
    searching.join(10)
    assert found[0]["pipes.txt"] > 0.4


def test_a_store_can_move_back(both: Services, store: str, tuned: Tuned) -> None:
    before = cosines(both, store, "copper")
    move(both, store, tuned)
    move(both, store, WordEmbedder())
    assert (cosines(both, store, "copper"), cosines(both, store)["pipes.txt"]) == (before, 0)


def test_an_embedder_that_would_cut_a_window_is_refused(both: Services, store: str) -> None:
    class Short(Tuned):
        max_tokens = 3

    with pytest.raises(BadRequest, match="reads 3 tokens at once, and the store holds pieces of 5"):
        move(both, store, Short())
    assert made_with(both, store) == "words"


def test_a_store_that_is_deleted_meanwhile_is_not_found(both: Services, store: str, tuned: Tuned) -> None:
    def deleted(done: int, total: int) -> None:
        with both.database.write() as session:
            delete_store(session, session.scalars(select(VectorStoreRow)).one())

    with pytest.raises(NotFound):
        move(both, store, tuned, tell=deleted)


def test_an_empty_store_moves(both: Services, tuned: Tuned) -> None:
    with both.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="empty", embedder="words").id
    assert move(both, store, tuned) == Moved(windows=0, embedded=0)
    assert made_with(both, store) == TUNED


def test_a_store_of_a_tuned_embedder_that_is_gone_is_not_searched_with_another(services: Services) -> None:
    with services.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="lost", embedder=TUNED).id
    with pytest.raises(EmbedderMismatch, match="There is no tuned embedder"):
        services.searching.search(DEFAULT_PROJECT, [store], "anything")
