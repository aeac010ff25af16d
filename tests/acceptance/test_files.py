"""Files and uploads through the official SDK."""

import hashlib
from pathlib import Path

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

pytestmark = pytest.mark.acceptance


def upload(client: OpenAI, name: str = "soil.txt", content: bytes = b"Loam is sand, silt and clay.") -> str:
    return client.files.create(file=(name, content), purpose="assistants").id


def test_a_file_comes_back_as_it_was_given(client: OpenAI) -> None:
    made = client.files.create(file=("soil.bin", bytes(range(256))), purpose="user_data")

    assert (made.filename, made.bytes, made.purpose, made.status) == ("soil.bin", 256, "user_data", "processed")
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == bytes(range(256))


def test_a_large_file_streams_both_ways(client: OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"0123456789abcdef" * (2 * 1024 * 1024))
    made = client.files.create(file=path, purpose="assistants")

    with client.files.with_streaming_response.content(made.id) as response:
        response.stream_to_file(tmp_path / "back.bin")

    assert (tmp_path / "back.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("a\rb\nc.txt", "abc.txt"),
        ("Bodenkunde für Anfänger.md", "Bodenkunde für Anfänger.md"),
    ],
)
def test_a_filename_is_a_plain_name(client: OpenAI, given: str, kept: str) -> None:
    made = client.uploads.create(filename=given, purpose="assistants", bytes=1, mime_type="text/plain")

    assert made.filename == kept


def test_a_download_is_never_shown_as_a_page(client: OpenAI) -> None:
    made = client.files.create(file=("für.html", b"<script>alert(1)</script>"), purpose="assistants")

    headers = client.files.with_raw_response.content(made.id).headers

    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"] == "attachment; filename*=utf-8''f%C3%BCr.html"


def test_files_are_listed_newest_first_and_by_purpose(client: OpenAI) -> None:
    first, second = (client.files.create(file=("v.png", b"x"), purpose="vision").id for _ in range(2))

    listed = [file.id for file in client.files.list(purpose="vision")]

    assert listed == [second, first]
    assert [file.id for file in client.files.list(purpose="vision", order="asc", limit=1)] == [first, second]


def test_a_deleted_file_is_not_found(client: OpenAI) -> None:
    file_id = upload(client)

    assert client.files.delete(file_id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(NotFoundError, match=f"No such File object: {file_id}"):
            call(file_id)


def test_equal_content_outlives_the_deletion_of_one_of_its_files(client: OpenAI) -> None:
    first, second = upload(client, content=b"the same"), upload(client, content=b"the same")
    client.files.delete(first)

    assert client.files.content(second).content == b"the same"


def test_a_file_says_when_it_expires(client: OpenAI) -> None:
    expiry = {"anchor": "created_at", "seconds": 3600}
    made = client.files.create(file=("a.txt", b"a"), purpose="assistants", expires_after=expiry)

    assert made.expires_at == made.created_at + 3600


def test_an_expiry_outside_the_limits_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.files.create(
            file=("a.txt", b"a"), purpose="assistants", expires_after={"anchor": "created_at", "seconds": 1}
        )

    assert refused.value.param == "expires_after[seconds]"


def test_one_idempotency_key_makes_one_file(client: OpenAI) -> None:
    def create(content: bytes) -> str:
        headers = {"Idempotency-Key": "file-once"}
        return client.files.create(file=("a.txt", content), purpose="assistants", extra_headers=headers).id

    assert create(b"a") == create(b"a")
    with pytest.raises(BadRequestError, match="first used with another request"):
        create(b"b")


def test_parts_become_a_file_in_the_order_of_completion(client: OpenAI) -> None:
    upload = client.uploads.create(filename="two.txt", purpose="assistants", bytes=10, mime_type="text/plain")
    second = client.uploads.parts.create(upload.id, data=b"world")
    first = client.uploads.parts.create(upload.id, data=b"hello")

    md5 = hashlib.md5(b"helloworld").hexdigest()
    completed = client.uploads.complete(upload.id, part_ids=[first.id, second.id], md5=md5)

    assert completed.status == "completed" and completed.file
    assert client.files.content(completed.file.id).content == b"helloworld"


def test_the_sdk_uploads_a_file_in_chunks(client: OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "chunked.txt"
    path.write_bytes(b"x" * 300_000)

    completed = client.uploads.upload_file_chunked(
        file=path, mime_type="text/plain", purpose="assistants", part_size=100_000
    )

    assert completed.file and completed.file.bytes == 300_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"part_ids": ["part_none"]}, "has no part 'part_none'"),
        ({"md5": "0" * 32}, "The md5 of the parts together is"),
        ({"part_ids": []}, "Invalid value for 'part_ids'"),
    ],
)
def test_an_upload_that_is_not_as_announced_stays_pending(
    client: OpenAI, change: dict[str, object], reason: str
) -> None:
    upload = client.uploads.create(filename="a.txt", purpose="assistants", bytes=1, mime_type="text/plain")
    part = client.uploads.parts.create(upload.id, data=b"a")

    with pytest.raises(BadRequestError, match=reason):
        client.uploads.complete(upload.id, **({"part_ids": [part.id]} | change))

    assert client.uploads.complete(upload.id, part_ids=[part.id]).status == "completed"


def test_an_upload_of_another_size_is_refused(client: OpenAI) -> None:
    upload = client.uploads.create(filename="a.txt", purpose="assistants", bytes=2, mime_type="text/plain")
    part = client.uploads.parts.create(upload.id, data=b"a")

    with pytest.raises(BadRequestError, match="1 bytes together, but 2 were announced"):
        client.uploads.complete(upload.id, part_ids=[part.id])


def test_a_cancelled_upload_takes_nothing_more(client: OpenAI) -> None:
    upload = client.uploads.create(filename="a.txt", purpose="assistants", bytes=1, mime_type="text/plain")

    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(BadRequestError, match="is cancelled"):
        client.uploads.parts.create(upload.id, data=b"a")
