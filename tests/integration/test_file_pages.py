"""A page of a file over HTTP: the text that citations refer to, and the span of one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rag.types import Page
from services.api.app import create_app
from services.settings import Settings
from services.storage.documents import Version, add_documents, store_versions
from services.storage.generations import live_generation
from services.storage.tables import ChunkRow
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.stored import add_store, one_chunk, put_file

# A character beyond 16 bits, so that offsets of another unit would be off by one.
FIRST, SECOND = "🌱 Loam is rich.", "Clay is dense."
TEXT = f"{FIRST}\n\n{SECOND}"
PAGES = (Page(number=1, start=0, end=len(FIRST)), Page(number=2, start=len(FIRST) + 2, end=len(TEXT)))


@dataclass(frozen=True)
class Stored:
    client: TestClient
    file: str
    chunk: str
    plain: str
    bare: str

    def page(self, number: int | str, file: str = "", **asked: object) -> dict[str, object]:
        page: dict[str, object] = self.client.get(f"/v1/files/{file or self.file}/pages/{number}", params=asked).json()
        return page


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    services = open_services(settings(tmp_path_factory.mktemp("pages") / "home"))
    services.embedder = WordEmbedder()
    add_store(services.database, "vs_soil")
    files = [put(services, name, text, pages) for name, text, pages in (("a.pdf", TEXT, PAGES), ("b.md", FIRST, ()))]
    with services.database.write() as session:
        bare = put_file(session, "c.md").id
    with TestClient(create_app(services)) as client:
        (paged, chunk), (plain, _) = files
        yield Stored(client=client, file=paged, chunk=chunk, plain=plain, bare=bare)


def settings(home: Path) -> Settings:
    return Settings(home=home, embedder=WordEmbedder.name, allowed_hosts=("testserver",), worker=False)


def put(services: Services, name: str, text: str, pages: tuple[Page, ...]) -> tuple[str, str]:
    read = one_chunk(text, [[1.0, 0.0]])
    with services.database.write() as session:
        file = put_file(session, name)
        (document,) = add_documents(session, "vs_soil", {file.id: file})
        made = replace(read, document=replace(read.document, pages=pages))
        live = live_generation(session, "vs_soil")
        version = Version(document=document, made=made, generation=live, sha256=file.sha256)
        store_versions(session, [version], vector_bytes=8)
        chunk = session.query(ChunkRow).filter_by(document_seq=document.seq).one()
        return file.id, f"chunk_{chunk.id}"


def test_a_page_is_a_span_of_the_canonical_text(stored: Stored) -> None:
    page = stored.page(2)
    assert page == {
        "object": "file.page",
        "file_id": stored.file,
        "filename": "a.pdf",
        "vector_store_id": "vs_soil",
        "page": 2,
        "pages": 2,
        "start": len(FIRST) + 2,
        "end": len(TEXT),
        "text": SECOND,
        "spans": [],
    }


def test_a_citations_offsets_are_highlighted(stored: Stored) -> None:
    start = TEXT.index("dense")
    assert stored.page(2, start=start, end=start + 5)["spans"] == [{"start": start, "end": start + 5, "text": "dense"}]


def test_a_chunk_is_highlighted_as_far_as_it_is_on_the_page(stored: Stored) -> None:
    assert [stored.page(number, chunk_id=stored.chunk)["spans"] for number in (1, 2)] == [
        [{"start": 0, "end": len(FIRST), "text": FIRST}],
        [{"start": len(FIRST) + 2, "end": len(TEXT), "text": SECOND}],
    ]


def test_a_file_without_pages_is_page_1(stored: Stored) -> None:
    page = stored.page(1, stored.plain)
    assert (page["text"], page["pages"], page["start"], page["end"]) == (FIRST, 1, 0, len(FIRST))


@pytest.mark.parametrize(
    ("number", "asked", "status", "param", "reason"),
    [
        (3, {}, 404, "page", "'a.pdf' has 2 pages, and none is 3"),
        (0, {}, 400, "page", "page"),
        ("x", {}, 400, "page", "page"),
        (1, {"start": 5}, 400, "end", "Missing required parameter: 'end'"),
        (1, {"start": 5, "end": 5}, 400, "end", "greater than 'start'"),
        (1, {"start": 20, "end": 24}, 400, "start", "not on page 1: it is on page 2"),
        (1, {"start": 900, "end": 901}, 400, "start", "not on page 1: no page has it"),
        (1, {"chunk_id": "chunk_999"}, 404, "file_id", "has no chunk 'chunk_999'"),
        (1, {"chunk_id": "999"}, 400, "chunk_id", "chunk_id"),
        (1, {"vector_store_id": "vs_none"}, 404, "file_id", "no text in the vector store 'vs_none' yet"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(
    stored: Stored, number: int | str, asked: dict[str, object], status: int, param: str, reason: str
) -> None:
    refused = stored.client.get(f"/v1/files/{stored.file}/pages/{number}", params=asked)
    assert refused.status_code == status
    assert refused.json()["error"]["param"] == param
    assert reason in refused.json()["error"]["message"]


def test_a_file_in_no_store_and_one_that_is_not_there_are_not_found(stored: Stored) -> None:
    for file, reason in ((stored.bare, "no text in any vector store yet"), ("file-none", "No such File object")):
        refused = stored.client.get(f"/v1/files/{file}/pages/1")
        assert refused.status_code == 404
        assert reason in refused.json()["error"]["message"]
