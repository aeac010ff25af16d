import time
from pathlib import Path

import pytest
from sqlalchemy import event, func, select, update

from rag.chunk import ChunkingStrategy
from rag.ports import Comparison
from rag.retrieve import SearchOptions
from services.errors import BadRequest, NotFound
from services.folders import walk
from services.ingestion import Added, Outcome, WantedFile
from services.storage.documents import delete_document, delete_store, find_documents
from services.storage.tables import (
    DEFAULT_PROJECT,
    Base,
    ChunkRow,
    DocumentRow,
    DocumentTextRow,
    FileRow,
    FileStatus,
    VectorRow,
    VectorStoreRow,
    WindowRow,
)
from services.storage.vector_stores import create_store, find_store
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.stored import put_file


@pytest.fixture
def store(services: Services) -> str:
    with services.database.write() as session:
        return create_store(session, DEFAULT_PROJECT, name="docs", embedder="words").id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def ingest(services: Services, store: str, *paths: Path, chunking: ChunkingStrategy | None = None) -> list[Added]:
    worker = services.new_worker()
    files = walk(paths)
    added = list(services.ingestion.add_paths(DEFAULT_PROJECT, store, files, chunking=chunking, owner=worker.owner))
    worker.run_until_idle([one.job_id for one in added if one.job_id])
    return added


def upload(services: Services, store: str, content: bytes, name: str = "a.txt", **options: object) -> str:
    blob = services.blobs.put(content)
    with services.database.write() as session:
        file_id = put_file(session, name, blob).id
        wanted = WantedFile(file_id=file_id, **options)  # type: ignore[arg-type]
        services.ingestion.add_files(session, DEFAULT_PROJECT, store, [wanted])
        return file_id


def add_again(services: Services, store: str, file_id: str) -> None:
    with services.database.write() as session:
        services.ingestion.add_files(session, DEFAULT_PROJECT, store, [WantedFile(file_id=file_id)])


def found(services: Services, store: str, query: str, options: SearchOptions | None = None) -> list[str]:
    return [hit.passage.text for hit in services.searching.search(DEFAULT_PROJECT, [store], query, options)]


def documents(services: Services) -> list[DocumentRow]:
    with services.database.read() as session:
        return list(session.scalars(select(DocumentRow).order_by(DocumentRow.seq)))


def count(services: Services, table: type[Base]) -> int:
    with services.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_ingested_file_is_found(services: Services, store: str, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.md").write_text("# Otters\n\nOtters hold hands.")
    (added,) = ingest(services, store, folder)
    (hit,) = services.searching.search(DEFAULT_PROJECT, [store], "otters")
    assert (hit.passage.filename, hit.passage.file_id) == ("sub/a.md", added.file_id)
    assert [document.status for document in documents(services)] == ["completed"]


def test_unchanged_file_is_not_read_again(services: Services, store: str, folder: Path) -> None:
    (folder / "a.txt").write_text("otters")
    ingest(services, store, folder)
    before = documents(services)[0].seq, count(services, ChunkRow)
    assert [added.outcome for added in ingest(services, store, folder)] == [Outcome.UNCHANGED]
    assert (documents(services)[0].seq, count(services, ChunkRow)) == before


def test_changed_file_replaces_its_chunks(services: Services, store: str, folder: Path) -> None:
    path = folder / "a.txt"
    path.write_text("old otters")
    ingest(services, store, path)
    path.write_text("new badgers")
    ingest(services, store, path)
    assert found(services, store, "old otters new badgers") == ["new badgers"]
    assert (count(services, ChunkRow), count(services, VectorRow), len(list(services.blobs.all()))) == (1, 1, 1)


def test_other_strategy_cuts_again(services: Services, store: str, folder: Path) -> None:
    (folder / "a.txt").write_text(" ".join(f"w{number}." for number in range(400)))
    ingest(services, store, folder, chunking=ChunkingStrategy(max_tokens=400))
    coarse = count(services, ChunkRow)
    (added,) = ingest(services, store, folder, chunking=ChunkingStrategy(max_tokens=100))
    assert added.outcome is Outcome.QUEUED
    assert count(services, ChunkRow) > coarse


def test_same_text_is_embedded_once(services: Services, store: str, folder: Path) -> None:
    (folder / "a.txt").write_text("otters hold hands")
    (folder / "b.txt").write_text("otters hold hands")
    ingest(services, store, folder)
    embedder = services.embedder
    assert isinstance(embedder, WordEmbedder)
    assert embedder.seen.count("otters hold hands") == 1


def test_two_folders_with_one_name_are_two_documents(services: Services, store: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"{name} otter")
        ingest(services, store, tmp_path / name)
    assert sorted(found(services, store, "otter")) == ["one otter", "two otter"]


def test_bad_file_fails_alone_with_its_reason(services: Services, store: str, folder: Path) -> None:
    (folder / "a.txt").write_text("otters")
    (folder / "b.pdf").write_bytes(b"%PDF-1.7 broken")
    (folder / "c.txt").write_bytes(b"")
    ingest(services, store, folder)
    good, broken, empty = documents(services)
    assert [good.status, broken.status, empty.status] == ["completed", "failed", "failed"]
    assert (broken.error_code, empty.error_code) == ("invalid_file", "invalid_file")
    assert empty.error_message == "'c.txt' is empty."


def test_version_that_cannot_be_read_leaves_the_one_before(services: Services, store: str, folder: Path) -> None:
    path = folder / "a.txt"
    path.write_text("old otters")
    ingest(services, store, path)
    path.write_bytes(b"")
    ingest(services, store, path)
    assert documents(services)[0].status == "failed"
    assert found(services, store, "otters") == ["old otters"]


def test_file_over_the_limit_is_refused_unread(services: Services, store: str, folder: Path) -> None:
    services.ingestion._max_file_bytes = 10
    (folder / "a.txt").write_text("eleven byte")
    (added,) = ingest(services, store, folder)
    assert added.outcome is Outcome.FAILED
    assert documents(services)[0].error_message == (
        "'a.txt' is over the limit of 10 bytes: split it, or raise LOAM_MAX_FILE_BYTES."
    )
    assert list(services.blobs.all()) == []


def test_refused_file_is_ingested_once_it_is_small_enough(services: Services, store: str, folder: Path) -> None:
    test_file_over_the_limit_is_refused_unread(services, store, folder)
    (folder / "a.txt").write_text("otter")
    ingest(services, store, folder)
    assert [document.status for document in documents(services)] == ["completed"]


def test_refused_file_cannot_be_tried_again_without_its_bytes(services: Services, store: str, folder: Path) -> None:
    test_file_over_the_limit_is_refused_unread(services, store, folder)
    with pytest.raises(BadRequest, match="were not kept: ingest it again"):
        add_again(services, store, documents(services)[0].file_id)


def test_broken_link_is_reported(services: Services, store: str, folder: Path) -> None:
    (folder / "a.txt").symlink_to(folder / "gone.txt")
    (added,) = ingest(services, store, folder)
    assert added.problem == "'a.txt' is a link to something that is not there."


def test_name_that_is_not_utf8_is_ingested(services: Services, store: str, folder: Path) -> None:
    Path(str(folder) + "/caf\udce9.txt").write_text("coffee", encoding="utf-8")
    ingest(services, store, folder)
    (hit,) = services.searching.search(DEFAULT_PROJECT, [store], "coffee")
    assert hit.passage.filename == "caf\\xe9.txt"


def test_uploaded_file_carries_its_attributes(services: Services, store: str) -> None:
    upload(services, store, b"old otter", attributes={"year": 1990.0})
    upload(services, store, b"new otter", attributes={"year": 2020.0})
    services.new_worker().run_until_idle()
    assert found(services, store, "otter", SearchOptions(filters=Comparison("gt", "year", 2000))) == ["new otter"]


def test_file_added_twice_is_one_document(services: Services, store: str) -> None:
    file_id = upload(services, store, b"otter")
    add_again(services, store, file_id)
    services.new_worker().run_until_idle()
    assert found(services, store, "otter") == ["otter"]
    assert count(services, DocumentRow) == 1


def test_unknown_file_is_refused(services: Services, store: str) -> None:
    with pytest.raises(NotFound, match="file-x"):
        add_again(services, store, "file-x")


def test_cancelled_document_is_never_searchable(services: Services, store: str) -> None:
    file_id = upload(services, store, b"otter")
    with services.database.write() as session:
        services.ingestion.cancel(session, [_document(session, store, file_id)])
    services.new_worker().run_until_idle()
    assert found(services, store, "otter") == []
    assert documents(services)[0].status == FileStatus.CANCELLED


def test_cancelled_document_is_ingested_when_tried_again(services: Services, store: str) -> None:
    test_cancelled_document_is_never_searchable(services, store)
    add_again(services, store, documents(services)[0].file_id)
    services.new_worker().run_until_idle()
    assert found(services, store, "otter") == ["otter"]


def test_deleted_document_is_gone_with_all_that_was_made_of_it(services: Services, store: str) -> None:
    file_id = upload(services, store, b"otter")
    services.new_worker().run_until_idle()
    assert found(services, store, "otter") == ["otter"]
    with services.database.write() as session:
        delete_document(session, _document(session, store, file_id))
    assert found(services, store, "otter") == []
    assert [count(services, table) for table in (ChunkRow, WindowRow, VectorRow, DocumentTextRow)] == [0, 0, 0, 0]
    assert count(services, FileRow) == 1


def test_vector_that_another_document_uses_survives(services: Services, store: str) -> None:
    first, _second = upload(services, store, b"otter", "a.txt"), upload(services, store, b"otter", "b.txt")
    services.new_worker().run_until_idle()
    with services.database.write() as session:
        delete_document(session, _document(session, store, first))
    assert found(services, store, "otter") == ["otter"]


def test_deleted_store_leaves_only_files(services: Services, store: str) -> None:
    upload(services, store, b"otter")
    services.new_worker().run_until_idle()
    found(services, store, "otter")
    with services.database.write() as session:
        store_row = find_store(session, DEFAULT_PROJECT, store)
        assert store_row is not None
        delete_store(session, store_row)
    services.searching.forget(store)
    assert [count(services, table) for table in (DocumentRow, ChunkRow, VectorRow, FileRow)] == [0, 0, 0, 1]
    assert not (services.settings.indexes_dir / store).exists()
    with pytest.raises(NotFound, match=store):
        found(services, store, "otter")


def test_expired_store_is_not_searched(services: Services, store: str) -> None:
    with services.database.write() as session:
        row = session.scalars(select(VectorStoreRow)).one()
        row.expires_after_days, row.last_active_at = 1, row.last_active_at - 86_400
    with pytest.raises(NotFound, match="expired"):
        found(services, store, "otter")


def test_what_another_process_ingests_is_found_at_once(services: Services, store: str) -> None:
    upload(services, store, b"otter")
    services.new_worker().run_until_idle()
    assert found(services, store, "otter badger") == ["otter"]
    other = open_services(services.settings)
    other.embedder = WordEmbedder()
    upload(other, store, b"badger")
    other.new_worker().run_until_idle()
    other.close()
    assert set(found(services, store, "otter badger")) == {"otter", "badger"}


def test_search_is_activity_to_the_minute(services: Services, store: str) -> None:
    def active_after(last_active_at: int) -> int:
        with services.database.write() as session:
            session.execute(update(VectorStoreRow).values(last_active_at=last_active_at))
        found(services, store, "otter")
        with services.database.read() as session:
            return session.scalars(select(VectorStoreRow.last_active_at)).one()

    recent = int(time.time()) - 30
    assert active_after(recent) == recent
    assert active_after(recent - 60) > recent


def test_stores_are_merged_by_score(services: Services, store: str) -> None:
    with services.database.write() as session:
        other = create_store(session, DEFAULT_PROJECT, name="other", embedder="words").id
    upload(services, store, b"otters swim in rivers")
    upload(services, other, b"otters")
    services.new_worker().run_until_idle()
    hits = services.searching.search(DEFAULT_PROJECT, [store, other], "otters", SearchOptions(max_results=2))
    assert {hit.passage.text for hit in hits} == {"otters swim in rivers", "otters"}
    assert [hit.rank for hit in hits] == [1, 2]
    assert hits[0].score >= hits[1].score


def test_what_was_searched_once_is_read_no_more(services: Services, store: str) -> None:
    upload(services, store, b"otters swim")
    services.new_worker().run_until_idle()
    asked: list[str] = []
    event.listen(services.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    for _ in range(2):
        asked.clear()
        assert found(services, store, "otters") == ["otters swim"]
    assert not [statement for statement in asked if "FROM chunks" in statement or "FROM windows" in statement]


def test_what_was_searched_once_is_given_as_it_is_now(services: Services, store: str) -> None:
    file_id = upload(services, store, b"otters swim")
    services.new_worker().run_until_idle()
    found(services, store, "otters")
    with services.database.write() as session:
        wanted = WantedFile(file_id=file_id, attributes={"year": 2026})
        services.ingestion.add_files(session, DEFAULT_PROJECT, store, [wanted])
    (hit,) = services.searching.search(DEFAULT_PROJECT, [store], "otters")
    assert hit.passage.attributes == {"year": 2026}
    with services.database.write() as session:
        delete_document(session, _document(session, store, file_id))
    assert found(services, store, "otters") == []


def _document(session: object, store: str, file_id: str) -> DocumentRow:
    return find_documents(session, store, [file_id])[file_id]  # type: ignore[arg-type]


def test_every_bad_file_fails_with_a_reason_or_is_read_whole(services: Services, store: str, shared_data: Path) -> None:
    added = ingest(services, store, shared_data / "docs" / "synthetic_bad")
    for document in documents(services):
        assert document.status in ("completed", "failed")
        assert (document.status == "failed") == bool(document.error_code and document.error_message)
    assert count(services, DocumentRow) == len(added)
    with services.database.read() as session:
        with_chunks = set(session.scalars(select(ChunkRow.document_seq)))
    assert with_chunks == {document.seq for document in documents(services) if document.status == "completed"}
