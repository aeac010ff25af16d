from pathlib import Path

import pytest
from sqlalchemy import select

from services.folders import FoundFile
from services.storage.documents import add_file_row
from services.storage.file_batches import add_batch
from services.storage.store_files import FileCounts, count_batch, count_by_store
from services.storage.tables import DEFAULT_PROJECT, DocumentRow, FileStatus, VectorStoreRow
from services.storage.vector_stores import create_store
from services.wiring import Services


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
        services.ingestion.add_file(session, DEFAULT_PROJECT, store.id, added.file_id)

    with services.database.read() as session:
        assert session.scalars(select(DocumentRow.source)).all() == [str(path)]


def test_a_batch_keeps_a_file_that_is_added_again_by_itself(services: Services, store: VectorStoreRow) -> None:
    with services.database.write() as session:
        file = add_file_row(session, DEFAULT_PROJECT, "a.txt", sha256="0" * 64, size_bytes=1)
        batch = add_batch(session, store)
        services.ingestion.add_file(session, DEFAULT_PROJECT, store.id, file.id, batch_id=batch.id)
        services.ingestion.add_file(session, DEFAULT_PROJECT, store.id, file.id)
        session.flush()

        assert count_batch(session, batch).total == 1


def test_counts_are_of_each_store_by_state(services: Services, store: VectorStoreRow) -> None:
    with services.database.write() as session:
        empty = create_store(session, DEFAULT_PROJECT, name="empty", embedder="words")
        for number, status in enumerate([FileStatus.COMPLETED, FileStatus.COMPLETED, FileStatus.FAILED]):
            file = add_file_row(session, DEFAULT_PROJECT, f"{number}.txt", sha256="0" * 64, size_bytes=1)
            document = services.ingestion.add_file(session, DEFAULT_PROJECT, store.id, file.id)
            document.status, document.usage_bytes = status, 10
        session.flush()
        counts = count_by_store(session, [store, empty])

    assert counts == {
        store.id: FileCounts(completed=2, failed=1, usage_bytes=30),
        empty.id: FileCounts(),
    }
