import pytest
from sqlalchemy import select

from services.errors import NotFound
from services.expiry import sweep
from services.ingestion import WantedFile
from services.storage.files import add_file, find_file
from services.storage.tables import DEFAULT_PROJECT, DocumentRow, FileRow, UploadRow, VectorStoreRow
from services.storage.uploads import add_part, add_upload
from services.storage.vector_stores import create_store
from services.wiring import Services


def keep_file(services: Services, content: bytes, *, expires_after_s: int | None = None) -> str:
    blob = services.blobs.put(content)
    with services.database.write() as session:
        file = add_file(
            session, DEFAULT_PROJECT, filename="soil.txt", purpose="assistants", blob=blob,
            expires_after_s=expires_after_s,
        )  # fmt: skip
        return file.id


def store_with(services: Services, file_id: str) -> str:
    with services.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="soil", embedder="words", expires_after_days=1)
        services.ingestion.add_files(session, DEFAULT_PROJECT, store.id, [WantedFile(file_id=file_id)])
    services.new_worker().run_until_idle()
    return store.id


def test_an_expired_file_leaves_its_stores_and_its_bytes_go(services: Services) -> None:
    file_id = keep_file(services, b"Loam is rich soil.", expires_after_s=3600)
    store_id = store_with(services, file_id)
    assert services.searching.search(DEFAULT_PROJECT, [store_id], "loam")
    with services.database.write() as session:
        file = session.scalars(select(FileRow)).one()
        file.expires_at, sha256 = 1, file.sha256

    sweep(services.database, services.blobs)

    assert services.searching.search(DEFAULT_PROJECT, [store_id], "loam") == []
    assert not services.blobs.exists(sha256)


def test_an_expired_file_is_not_given_even_before_it_is_removed(services: Services) -> None:
    file_id = keep_file(services, b"a", expires_after_s=-1)

    with services.database.read() as session:
        assert find_file(session, DEFAULT_PROJECT, file_id) is None


def test_the_parts_of_an_expired_upload_go(services: Services) -> None:
    blob = services.blobs.put(b"part")
    with services.database.write() as session:
        upload = add_upload(
            session, DEFAULT_PROJECT, filename="a", purpose="assistants", mime_type="text/plain", size_bytes=9,
            file_expires_after_s=None,
        )  # fmt: skip
        add_part(session, upload, blob)
        upload.expires_at = 1

    sweep(services.database, services.blobs)

    assert not services.blobs.exists(blob.sha256)
    with services.database.read() as session:
        assert session.scalars(select(UploadRow.status)).one() == "expired"


def test_an_expired_store_is_emptied_and_cannot_be_searched(services: Services) -> None:
    file_id = keep_file(services, b"Loam is rich soil.")
    store_id = store_with(services, file_id)
    with services.database.write() as session:
        session.scalars(select(VectorStoreRow)).one().last_active_at = 0

    sweep(services.database, services.blobs)

    with pytest.raises(NotFound, match="has expired"):
        services.searching.search(DEFAULT_PROJECT, [store_id], "loam")
    with services.database.read() as session:
        assert session.scalars(select(DocumentRow)).all() == []
        assert find_file(session, DEFAULT_PROJECT, file_id)


def test_what_has_time_left_stays(services: Services) -> None:
    file_id = keep_file(services, b"Loam is rich soil.", expires_after_s=3600)
    store_id = store_with(services, file_id)

    sweep(services.database, services.blobs)

    assert services.searching.search(DEFAULT_PROJECT, [store_id], "loam")
