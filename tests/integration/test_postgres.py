"""PostgreSQL under the whole of loam: writers that wait for each other, the index inside it, a server that goes."""

import json
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import text

from services.cli import doctor
from services.errors import DatabaseUnavailable, InvalidSettings
from services.indexes import FileIndexes
from services.jobs import queue
from services.settings import Settings
from services.storage.chunks import SqlChunkSource
from services.storage.database import Database
from services.storage.overview import store_overviews
from services.storage.postgres import indexes, vectors, words
from services.storage.postgres.index import PostgresIndex
from services.storage.postgres.indexes import PostgresIndexes
from services.storage.tables import DEFAULT_PROJECT, GenerationRow, VectorStoreRow
from services.storage.vector_stores import create_store
from services.wiring import Services, open_services
from tests.fakes.chunk_source import MemorySource
from tests.fakes.embedder import WordEmbedder
from tests.fakes.indexed import SMALL, cosines, filled, ingest, live, mended, problems, roll_back, update, write
from tests.fakes.postgres import running_postgres

DIMENSIONS = 32


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def store(services: Services, tmp_path: Path) -> str:
    return filled(services, tmp_path / "docs")


def tables_of_indexes(services: Services) -> set[str]:
    with services.database.connect() as connection:
        return set(
            connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'loam_index'")).scalars()
        )


# --- the database


def test_what_two_writers_read_and_write_is_not_lost(database: Database) -> None:
    other = Database(database.url.render_as_string(hide_password=False))
    with database.write() as session:
        create_store(session, DEFAULT_PROJECT, name="0", embedder="words")

    def count_up(mine: Database) -> None:
        for _ in range(20):
            with mine.write() as session:
                row = session.query(VectorStoreRow).one()
                row.name = str(int(row.name or 0) + 1)

    threads = [threading.Thread(target=count_up, args=(one,)) for one in (database, database, other, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.query(VectorStoreRow).one().name == "80"
    other.close()


def test_each_job_is_claimed_once_however_many_claim(database: Database) -> None:
    with database.write() as session:
        queue.enqueue(session, DEFAULT_PROJECT, "ingest", [str(number) for number in range(60)])
    claimed: list[str] = []

    def claim(owner: str) -> None:
        mine = Database(database.url.render_as_string(hide_password=False))
        while True:
            with mine.write() as session:
                jobs = queue.claim(session, "ingest", owner, 3)
            if not jobs:
                return mine.close()
            claimed.extend(job.subject for job in jobs)

    threads = [threading.Thread(target=claim, args=(f"worker {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed, key=int) == [str(number) for number in range(60)]


def test_a_reader_sees_one_moment_while_others_write(database: Database) -> None:
    with database.read() as session:
        before = session.scalar(text("SELECT count(*) FROM vector_stores"))
        with database.write() as writing:
            create_store(writing, DEFAULT_PROJECT, name="new", embedder="words")
        assert session.scalar(text("SELECT count(*) FROM vector_stores")) == before


def test_a_name_with_nul_is_kept_without_it(database: Database) -> None:
    with database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="a\x00b", embedder="words", metadata={"k": "\x00"})
    with database.read() as session:
        row = session.get_one(VectorStoreRow, store.seq)
    assert (row.name, row.metadata_) == ("a\ufffdb", {"k": "\x00"})


def test_a_missing_driver_is_told_by_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InvalidSettings, match=r"loam-server\[postgres\]"):
        Database("postgresql://nobody@localhost/nothing")


@pytest.mark.parametrize("url", ["mysql://localhost/loam", "no url"])
def test_another_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidSettings, match="LOAM_DATABASE_URL"):
        Database(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_however_the_scheme_is_written_the_driver_is_psycopg(scheme: str) -> None:
    database = Database(f"{scheme}://nobody@localhost/nothing")
    assert database.engine.dialect.driver == "psycopg"


def test_a_server_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    with running_postgres() as server:
        database = Database(server.create())
        database.migrate(tmp_path / "lock")
        server.crash()
        with pytest.raises(DatabaseUnavailable) as caught, database.read() as session:
            session.execute(text("SELECT 1"))
        server.start_again()
        with database.read() as session:
            assert session.scalar(text("SELECT count(*) FROM projects")) == 0
        assert caught.value.status == 503
        database.close()


# --- the index inside it


def test_a_store_is_ingested_searched_changed_and_verified(services: Services, store: str, tmp_path: Path) -> None:
    assert set(cosines(services, store)) == {"pipes.txt", "ships.txt"}
    write(tmp_path / "docs", "ships.txt", "iron ships\n")
    write(tmp_path / "docs", "birds.txt", "green birds sing\n")
    ingest(services, store, tmp_path / "docs")
    assert set(cosines(services, store)) == {"pipes.txt", "ships.txt", "birds.txt"}
    assert (problems(services, store), services.settings.indexes_dir.exists()) == ([], False)


def test_what_is_counted_can_be_written_as_json(services: Services, store: str) -> None:
    with services.database.read() as session:
        (overview,) = store_overviews(session, DEFAULT_PROJECT)
    assert json.loads(json.dumps(asdict(overview)))["usage_bytes"] > 0


def test_another_generation_is_made_and_gone_back_from(services: Services, store: str) -> None:
    before = cosines(services, store)
    first = live(services, store).id
    update(services, store, chunking=SMALL)
    second = live(services, store).id
    assert (cosines(services, store), second > first) == (before, True)
    roll_back(services, store)
    assert (cosines(services, store), live(services, store).id) == (before, first)
    assert problems(services, store) == []


def test_a_removed_store_leaves_no_tables(services: Services, store: str) -> None:
    from services.storage.documents import delete_store
    from tests.fakes.indexed import row_of

    cosines(services, store)
    assert len(tables_of_indexes(services)) == 4
    with services.database.write() as session:
        delete_store(session, session.get_one(VectorStoreRow, row_of(services, store).seq))
    services.indexes.tidy(dict, before=0)
    assert tables_of_indexes(services) == {"indexes"}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DELETE FROM loam_index.chunks_{id} WHERE chunk_id = (SELECT min(id) FROM chunks)", "not in the index"),
        ("DELETE FROM loam_index.vectors_{id}", "chunks have no vector"),
        ("UPDATE loam_index.terms_{id} SET chunks = chunks + 1", "terms are miscounted"),
        ("UPDATE loam_index.indexes SET words = words + 1", "miscounted"),
        ("UPDATE loam_index.vectors_{id} SET vector = vector - vector - vector", "other vectors"),
        ("UPDATE loam_index.chunks_{id} SET terms = ''", "does not find it by its own words"),
    ],
)
def test_damage_is_found_and_mended(services: Services, store: str, damage: str, says: str) -> None:
    before = cosines(services, store)
    with services.database.write() as session:
        session.execute(text(damage.format(id=live(services, store).id)))
    assert any(says in problem for problem in problems(services, store))
    assert (mended(services, store), cosines(services, store)) == ([], before)


def test_an_index_that_is_removed_under_a_search_is_made_again(services: Services, store: str) -> None:
    before = cosines(services, store)
    index = services.searching._index(live(services, store), services.embedder)
    source = SqlChunkSource(services.database, live(services, store))
    index.sync(source)
    services.indexes.clear(live(services, store))
    assert cosines(services, store) == before


def test_files_can_be_chosen_over_postgres(settings: Settings, tmp_path: Path) -> None:
    services = open_services(settings.model_copy(update={"indexes": "files"}))
    services.embedder = WordEmbedder()
    store = filled(services, tmp_path / "docs")
    assert set(cosines(services, store)) == {"pipes.txt", "ships.txt"}
    assert (services.settings.indexes_dir / store).is_dir()
    services.close()


def test_sqlite_has_no_index_inside_which_is_told_at_once(home: Path) -> None:
    with pytest.raises(InvalidSettings, match="LOAM_DATABASE_URL"):
        open_services(Settings(home=home, indexes="database"))


def test_a_filter_finds_what_only_common_words_tell(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MOST_SCORED", 5)
    source = MemorySource()
    for chunk_id in range(50):
        source.add(chunk_id, "common heron" if chunk_id < 4 else "common", np.ones(2, np.float32))
    index = PostgresIndexes(database).open(
        GenerationRow(id=7, store_id="vs_1"),
        SimpleNamespace(id="ones", dimensions=2),  # type: ignore[arg-type]
    )
    index.sync(source)
    assert set(index.search_text("common heron", 50).scores) == {0, 1, 2, 3}
    assert set(index.search_text("common heron", 50, np.array([3, 20, 30])).scores) == {3, 20, 30}


def test_without_pgvector_indexes_are_files_unless_the_database_is_asked_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "pgvector_version", lambda _database: None)
    services = open_services(settings)
    assert isinstance(services.indexes, FileIndexes)
    services.close()
    with pytest.raises(InvalidSettings, match="no pgvector"):
        open_services(settings.model_copy(update={"indexes": "database"}))


def test_doctor_says_which_database_and_which_pgvector(services: Services) -> None:
    found = doctor._database(services)
    assert found.state == "ok"
    assert re.fullmatch(
        r"PostgreSQL \d+\.\d+ at \S.*, schema up to date, pgvector \d\S+, indexes in the database", found.detail
    )


# --- many vectors


@pytest.fixture
def many() -> MemorySource:
    """Chunks around a few centres, as texts on a few matters are."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(20, DIMENSIONS))
    source = MemorySource()
    for chunk_id in range(3000):
        vector = centres[chunk_id % 20] + 0.7 * random.normal(size=DIMENSIONS)
        unit = (vector / np.linalg.norm(vector)).astype(np.float32)
        source.add(chunk_id, f"words of {chunk_id}", unit)
    return source


@pytest.fixture
def graphed(database: Database, many: MemorySource, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresIndex]:
    """An index whose vectors have a graph, which was made beside."""
    monkeypatch.setattr(vectors, "GRAPH_FROM", 1000)
    # So few rows are read one after the other, unless that is ruled out.
    quick = Database(database.url.update_query_dict({"options": "-c enable_seqscan=off"}).render_as_string(False))
    embedder = SimpleNamespace(id="random", dimensions=DIMENSIONS)
    index = PostgresIndexes(quick).open(GenerationRow(id=7, store_id="vs_1"), embedder)  # type: ignore[arg-type]
    index.sync(many)
    index.maintain()
    for thread in [one for one in threading.enumerate() if one.name == "graph"]:
        thread.join()
    index.sync(many)
    yield index
    quick.close()


def exact(many: MemorySource, query: np.ndarray, within: np.ndarray) -> list[int]:  # type: ignore[type-arg]
    rows = np.stack([many.chunks[one][0].vectors[0] for one in within.tolist()])  # type: ignore[index]
    return [int(within[place]) for place in np.argsort(-(rows @ query))[:10]]


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.1, 0.001])
def test_the_graph_finds_the_nearest_whatever_a_filter_keeps(
    graphed: PostgresIndex, many: MemorySource, kept: float
) -> None:
    random = np.random.default_rng(11)
    every = many.chunk_ids()
    within = np.sort(random.choice(every, max(3, int(kept * len(every))), replace=False))
    right = 0
    queries = [every_row.vectors[0] for every_row, _ in list(many.chunks.values())[:40]]
    for query in queries:
        found = graphed.search_vectors(query, 10, None if kept == 1 else within)
        right += len(set(found) & set(exact(many, query, within)))
    assert right >= 0.98 * 40 * min(10, len(within))


def test_the_graph_is_there_and_used(graphed: PostgresIndex, many: MemorySource) -> None:
    with graphed._database.connect() as connection:
        valid = connection.execute(text("SELECT indisvalid FROM pg_index WHERE indexrelid::regclass::text ~ 'graph_7'"))
        assert valid.scalars().all() == [True]
        query = vectors.as_halfvec(next(iter(many.chunks.values()))[0].vectors[0])
        statement = vectors._by_graph(graphed._tables, "")
        plan = connection.execute(text(f"EXPLAIN {statement}"), {"query": query, "limit": 20}).scalars().all()
    assert any("graph_7" in line for line in plan)
