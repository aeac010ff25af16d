"""Vector stores through the official SDK: filled, searched, changed, emptied."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types import VectorStore

from tests.acceptance.serving import Server

pytestmark = pytest.mark.acceptance

CAPITAL = b"The capital of Loamland is Clayville, on the river Silt."
RECIPE = b"Knead the dough for ten minutes, then let it rest for an hour."


@pytest.fixture
def store(client: OpenAI) -> Iterator[VectorStore]:
    made = client.vector_stores.create(name="handbook")
    yield made
    client.vector_stores.delete(made.id)


def upload(client: OpenAI, name: str, content: bytes) -> str:
    return client.files.create(file=(name, content), purpose="assistants").id


def found(client: OpenAI, store: VectorStore, query: str, **options: object) -> list[str]:
    return [hit.filename for hit in client.vector_stores.search(store.id, query=query, **options)]


def test_an_uploaded_file_is_found_by_meaning_and_by_words(client: OpenAI, store: VectorStore) -> None:
    added = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("capital.txt", CAPITAL))
    client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("recipe.txt", RECIPE))

    page = client.vector_stores.search(store.id, query="Which city is the seat of government?")

    best = page.data[0]
    assert (added.status, added.last_error) == ("completed", None)
    assert (best.file_id, best.filename, best.content[0].text) == (added.id, "capital.txt", CAPITAL.decode())
    assert 0 < best.score <= 1 and best.source_end == len(CAPITAL)
    assert (page.object, page.search_query) == (
        "vector_store.search_results.page",
        ["Which city is the seat of government?"],
    )


def test_a_store_says_what_it_holds(client: OpenAI) -> None:
    file_id = upload(client, "capital.txt", CAPITAL)
    expiry = {"anchor": "last_active_at", "days": 7}
    made = client.vector_stores.create(
        name="full", description="All of it", file_ids=[file_id], expires_after=expiry, metadata={"team": "soil"}
    )
    client.vector_stores.files.poll(file_id, vector_store_id=made.id)

    store = client.vector_stores.retrieve(made.id)

    assert (store.status, store.file_counts.completed, store.file_counts.total) == ("completed", 1, 1)
    assert (store.name, store.description, store.metadata) == ("full", "All of it", {"team": "soil"})
    assert store.usage_bytes > len(CAPITAL)
    assert store.expires_at == store.last_active_at + 7 * 86_400


def test_an_update_changes_only_what_it_names(client: OpenAI, store: VectorStore) -> None:
    changed = client.vector_stores.update(store.id, metadata={"a": "b"})
    assert (changed.name, changed.metadata) == ("handbook", {"a": "b"})

    cleared = client.vector_stores.update(store.id, name=None)
    assert (cleared.name, cleared.metadata) == ("", {"a": "b"})


def test_a_batch_counts_its_broken_files_and_says_why(client: OpenAI, store: VectorStore) -> None:
    good = [(f"{n}.txt", f"Field {n} grows barley.".encode()) for n in range(17)]
    broken = [("empty.txt", b""), ("broken.pdf", b"%PDF-1.7 broken"), ("blob.xyz", bytes([0, 159, 146, 150]) * 64)]

    batch = client.vector_stores.file_batches.upload_and_poll(store.id, files=good + broken)

    failed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, filter="failed")
    errors = {client.files.retrieve(file.id).filename: file.last_error for file in failed}
    assert batch.status == "completed"
    assert batch.file_counts.model_dump() == {
        "in_progress": 0, "completed": 17, "failed": 3, "cancelled": 0, "total": 20
    }  # fmt: skip
    assert {name: error.code for name, error in errors.items() if error} == {
        "empty.txt": "invalid_file", "broken.pdf": "invalid_file", "blob.xyz": "unsupported_file"
    }  # fmt: skip
    assert all(error and error.message for error in errors.values())


def test_files_of_a_batch_have_their_own_attributes(client: OpenAI, store: VectorStore) -> None:
    files = [
        {"file_id": upload(client, f"{year}.txt", b"The harvest was good."), "attributes": {"year": year}}
        for year in (2023, 2024)
    ]
    client.vector_stores.file_batches.create_and_poll(store.id, files=files)

    later = {"type": "gt", "key": "year", "value": 2023}
    assert found(client, store, "harvest", filters=later) == ["2024.txt"]


def test_changed_attributes_are_searchable_at_once(client: OpenAI, store: VectorStore) -> None:
    added = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("capital.txt", CAPITAL))
    in_german = {"type": "eq", "key": "language", "value": "de"}
    assert found(client, store, "capital", filters=in_german) == []

    client.vector_stores.files.update(added.id, vector_store_id=store.id, attributes={"language": "de"})

    assert found(client, store, "capital", filters=in_german) == ["capital.txt"]


def test_a_file_taken_out_of_a_store_stays_a_file(client: OpenAI, store: VectorStore) -> None:
    added = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("capital.txt", CAPITAL))

    assert client.vector_stores.files.delete(added.id, vector_store_id=store.id).deleted

    assert found(client, store, "capital of Loamland") == []
    assert client.files.retrieve(added.id).filename == "capital.txt"


def test_a_deleted_file_is_never_found(client: OpenAI, store: VectorStore) -> None:
    added = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("capital.txt", CAPITAL))

    client.files.delete(added.id)

    assert found(client, store, "capital of Loamland") == []
    assert client.vector_stores.retrieve(store.id).file_counts.total == 0


def test_a_deleted_store_is_not_found(client: OpenAI) -> None:
    store = client.vector_stores.create()

    assert client.vector_stores.delete(store.id).deleted
    with pytest.raises(NotFoundError, match=f"No vector store found with id '{store.id}'"):
        client.vector_stores.search(store.id, query="anything")


def test_one_file_added_by_two_at_once_is_one_document(server: Server, client: OpenAI, store: VectorStore) -> None:
    file_id = upload(client, "capital.txt", CAPITAL)
    together = threading.Barrier(8)

    def add(_: int) -> str:
        with server.client() as mine:
            together.wait()
            return mine.vector_stores.files.create_and_poll(file_id, vector_store_id=store.id).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(add, range(8))) == {"completed"}
    assert client.vector_stores.retrieve(store.id).file_counts.total == 1
    assert found(client, store, "capital of Loamland") == ["capital.txt"]


def test_a_cancelled_batch_stops(client: OpenAI, store: VectorStore) -> None:
    long = "\n\n".join(f"Paragraph {n} tells of barley, rye and the weather of day {n}." for n in range(800))
    ids = [upload(client, f"{n}.txt", f"{n} {long}".encode()) for n in range(4)]
    batch = client.vector_stores.file_batches.create(store.id, file_ids=ids)

    client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)

    ended = client.vector_stores.file_batches.poll(batch.id, vector_store_id=store.id)
    assert (ended.status, ended.file_counts.cancelled, ended.file_counts.in_progress) == ("cancelled", 4, 0)
    assert found(client, store, "barley") == []


def test_a_file_that_was_cancelled_is_ingested_when_it_is_added_again(client: OpenAI, store: VectorStore) -> None:
    long = " ".join(f"Barley grew on field {n}." for n in range(800))
    file_id = upload(client, "barley.txt", long.encode())
    batch = client.vector_stores.file_batches.create(store.id, file_ids=[file_id])
    client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)

    again = client.vector_stores.files.create_and_poll(file_id, vector_store_id=store.id)

    assert again.status == "completed"
    assert "barley.txt" in found(client, store, "barley")


def test_the_content_of_a_file_is_its_text(client: OpenAI, store: VectorStore) -> None:
    added = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("capital.txt", CAPITAL))

    pieces = client.vector_stores.files.content(added.id, vector_store_id=store.id)

    assert [piece.text for piece in pieces] == [CAPITAL.decode()]


def test_the_chunking_asked_for_is_the_one_used(client: OpenAI, store: VectorStore) -> None:
    strategy = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    text = "\n\n".join(f"Sentence number {n} is about soil and seed." for n in range(100))
    file_id = upload(client, "long.txt", text.encode())
    added = client.vector_stores.files.create_and_poll(file_id, vector_store_id=store.id, chunking_strategy=strategy)

    hits = client.vector_stores.search(store.id, query="soil", max_num_results=50)

    assert added.chunking_strategy and added.chunking_strategy.model_dump() == strategy
    assert len(hits.data) >= 10


def test_lists_page_to_the_end_in_both_orders(client: OpenAI, store: VectorStore) -> None:
    ids = [upload(client, f"{n}.txt", b"soil") for n in range(5)]
    client.vector_stores.file_batches.create_and_poll(store.id, file_ids=ids)

    upwards = [file.id for file in client.vector_stores.files.list(store.id, limit=2, order="asc")]
    downwards = [file.id for file in client.vector_stores.files.list(store.id, limit=2)]
    before = client.vector_stores.files.list(store.id, limit=2, order="asc", before=ids[3])

    assert (upwards, downwards) == (ids, ids[::-1])
    assert ([file.id for file in before.data], before.has_more) == (ids[1:3], True)


def test_a_search_is_limited_weighed_and_cut_as_asked(client: OpenAI, store: VectorStore) -> None:
    for name, content in (("capital.txt", CAPITAL), ("recipe.txt", RECIPE)):
        client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=(name, content))
    by_words = {"score_threshold": 0.0, "hybrid_search": {"embedding_weight": 0.0, "text_weight": 1.0}}

    assert found(client, store, "dough", max_num_results=1) == ["recipe.txt"]
    assert found(client, store, "Loamland", ranking_options=by_words) == ["capital.txt"]
    assert found(client, store, "dough", ranking_options={"score_threshold": 1.0}) == []


def test_a_rewritten_query_is_told(client: OpenAI, store: VectorStore) -> None:
    page = client.vector_stores.search(store.id, query=["Could you tell me about barley?", "rye"], rewrite_query=True)

    assert page.search_query == ["barley", "rye"]


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": "a", "max_num_results": 51}, "max_num_results"),
        ({"query": "a", "ranking_options": {"score_threshold": 2}}, "ranking_options.score_threshold"),
        ({"query": "a", "extra_body": {"nonsense": 1}}, "nonsense"),
    ],
)
def test_a_malformed_search_is_refused_by_name(
    client: OpenAI, store: VectorStore, wanted: dict[str, object], param: str
) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.vector_stores.search(store.id, **wanted)

    assert refused.value.param == param


def test_a_batch_with_an_unknown_file_adds_none(client: OpenAI, store: VectorStore) -> None:
    file_id = upload(client, "capital.txt", CAPITAL)

    with pytest.raises(NotFoundError, match="No such File object"):
        client.vector_stores.file_batches.create(store.id, file_ids=[file_id, "file-none"])

    assert client.vector_stores.retrieve(store.id).file_counts.total == 0


def test_two_equal_creates_at_once_make_one_store(server: Server) -> None:
    together = threading.Barrier(6)

    def create(_: int) -> str:
        with server.client() as client:
            together.wait()
            return client.vector_stores.create(name="once", extra_headers={"Idempotency-Key": "store-once"}).id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(create, range(6)))) == 1
