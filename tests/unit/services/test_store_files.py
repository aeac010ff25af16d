from pathlib import Path

import pytest
from sqlalchemy import event, select

from services.errors import NotFound
from services.folders import FoundFile
from services.ingestion import WantedFile
from services.storage.file_batches import add_batch
from services.storage.store_files import FileCounts, count_batch, count_by_store
from services.storage.tables import DEFAULT_PROJECT, DocumentRow, FileStatus, JobRow, VectorStoreRow
from services.storage.vector_stores import create_store
from services.wiring import Services
from tests.fakes.stored import put_file


@pytest.fixture
def store(services: Services) -> VectorStoreRow:
    with services.database.write() as session:
        return create_store(session, DEFAULT_PROJECT, name="soil", embedder="words")


def test_a_file_that_came_as_a_path_is_one_document_when_it_is_added_by_its_id(
    services: Services, store: VectorStoreRow, tmp_path: Path
) -> None:
    path = tmp_path / "soil.txt"
    path.write_text("Loam is rich soil.")
    (added,) = services.ingestion.add_paths(DEFAULT_PROJECT, store.id, [FoundFile(path=path, name="soil.txt")])

    with services.database.write() as session:
        services.ingestion.add_files(session, DEFAULT_PROJECT, store.id, [WantedFile(file_id=added.file_id)])

    with services.database.read() as session:
        assert session.scalars(select(DocumentRow.source)).all() == [str(path)]


def test_a_batch_keeps_a_file_that_is_added_again_by_itself(services: Services, store: VectorStoreRow) -> None:
    with services.database.write() as session:
        wanted = [WantedFile(file_id=put_file(session).id)]
        batch = add_batch(session, store)
        services.ingestion.add_files(session, DEFAULT_PROJECT, store.id, wanted, batch_id=batch.id)
        services.ingestion.add_files(session, DEFAULT_PROJECT, store.id, wanted)
        session.flush()

        assert count_batch(session, batch).total == 1


def test_a_batch_holds_the_write_lock_for_about_a_statement_a_file(services: Services, store: VectorStoreRow) -> None:
    statements = []
    with services.database.write() as session:
        wanted = [WantedFile(file_id=put_file(session).id, attributes={"year": 1.0}) for _ in range(100)]
    event.listen(services.database.engine, "before_cursor_execute", lambda *_: statements.append(1))

    with services.database.write() as session:
        documents = services.ingestion.add_files(session, DEFAULT_PROJECT, store.id, wanted)
    with services.database.write() as session:
        services.ingestion.cancel(session, documents)

    assert len(statements) < 130


def test_nothing_of_a_batch_is_added_when_one_file_is_not_there(services: Services, store: VectorStoreRow) -> None:
    with services.database.write() as session:
        there = WantedFile(file_id=put_file(session).id)
    with pytest.raises(NotFound, match="file-gone"), services.database.write() as session:
        services.ingestion.add_files(session, DEFAULT_PROJECT, store.id, [there, WantedFile(file_id="file-gone")])

    with services.database.read() as session:
        assert session.scalars(select(DocumentRow)).all() == []
        assert session.scalars(select(JobRow)).all() == []


def test_counts_are_of_each_store_by_state(services: Services, store: VectorStoreRow) -> None:
    with services.database.write() as session:
        empty = create_store(session, DEFAULT_PROJECT, name="empty", embedder="words")
        for number, status in enumerate([FileStatus.COMPLETED, FileStatus.COMPLETED, FileStatus.FAILED]):
            wanted = WantedFile(file_id=put_file(session, f"{number}.txt").id)
            (document,) = services.ingestion.add_files(session, DEFAULT_PROJECT, store.id, [wanted])
            document.status, document.usage_bytes = status, 10
        session.flush()
        counts = count_by_store(session, [store, empty])

    assert counts == {
        store.id: FileCounts(completed=2, failed=1, usage_bytes=30),
        empty.id: FileCounts(),
    }
