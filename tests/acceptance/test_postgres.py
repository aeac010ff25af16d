"""Several servers over one PostgreSQL, and that server gone and back under load."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, OpenAI
from sqlalchemy import select

from services.mending import find_problems
from services.settings import Settings
from services.storage.database import Database
from services.storage.tables import DEFAULT_PROJECT, JobRow
from services.storage.vector_stores import find_store
from services.wiring import open_services
from tests.acceptance.handbook import ANSWER, QUESTION, TEXTS, check_citations, make_handbook
from tests.acceptance.serving import Server, serving
from tests.fakes.postgres import PostgresServer, running_postgres

pytestmark = pytest.mark.acceptance

CLIENTS = 3
LOAD_S = 1.5
DOWN_S = 0.5
PAUSE_S = 0.1
PATIENCE_S = 60
BY_WORDS: Any = {"hybrid_search": {"embedding_weight": 0, "text_weight": 1}}


@pytest.fixture(scope="module")
def server_of_postgres() -> Iterator[PostgresServer]:
    """A server of this file's own: it is stopped and started."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def url(server_of_postgres: PostgresServer) -> str:
    return server_of_postgres.create()


@pytest.fixture(scope="module")
def pair(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers that share a home and an empty database, which they bring up to date at once."""
    home = tmp_path_factory.mktemp("shared") / "home"
    with serving(home, database_url=url) as one, serving(home, database_url=url) as other:
        yield one, other


@pytest.fixture
def clients(pair: tuple[Server, Server]) -> Iterator[tuple[OpenAI, OpenAI]]:
    with pair[0].client() as one, pair[1].client() as other:
        yield one, other


def test_what_one_ingests_the_other_finds_at_once(clients: tuple[OpenAI, OpenAI]) -> None:
    one, other = clients
    store = make_handbook(one)
    tools = [{"type": "file_search", "vector_store_ids": [store]}]
    asked = {"model": "default", "input": QUESTION, "tools": tools}
    first, second = (client.responses.create(**asked) for client in (other, one))
    assert ANSWER in second.output_text
    assert first.output_text == second.output_text
    content = first.output[-1].to_dict()["content"][0]
    check_citations(content["text"], content["annotations"])
    file = one.files.create(file=("birds.md", b"Herons nest in the reeds by the river."), purpose="assistants")
    one.vector_stores.files.create_and_poll(file.id, vector_store_id=store)
    assert other.vector_stores.search(store, query="Where do herons nest?").data[0].filename == "birds.md"
    other.vector_stores.files.delete(file.id, vector_store_id=store)
    assert {hit.filename for hit in one.vector_stores.search(store, query="herons")} <= set(TEXTS)


def test_a_conversation_goes_on_at_the_other(clients: tuple[OpenAI, OpenAI]) -> None:
    one, other = clients
    tools = [{"type": "file_search", "vector_store_ids": [make_handbook(one)]}]
    first = one.responses.create(model="default", input=QUESTION, tools=tools)
    then = other.responses.create(model="default", input="And basil?", previous_response_id=first.id, tools=tools)
    assert one.responses.retrieve(then.id).previous_response_id == first.id
    assert [item.id for item in other.responses.input_items.list(then.id)] != []


def test_each_job_is_done_once(clients: tuple[OpenAI, OpenAI], url: str) -> None:
    store = clients[0].vector_stores.create(name="many").id
    files = [(f"{number}.md", f"Note {number} is about otters.".encode()) for number in range(40)]
    for client, some in zip(clients, (files[::2], files[1::2]), strict=True):
        assert client.vector_stores.file_batches.upload_and_poll(store, files=some).file_counts.completed == 20
    hits = clients[1].vector_stores.search(store, query="otters", max_num_results=50).data
    assert {hit.filename for hit in hits} == {name for name, _ in files}
    database = Database(url)
    with database.read() as session:
        assert set(session.execute(select(JobRow.state, JobRow.attempts))) == {("succeeded", 1)}
    database.close()


def test_a_crash_of_the_database_under_load_loses_nothing_acknowledged(
    server_of_postgres: PostgresServer, tmp_path: Path
) -> None:
    url, home = server_of_postgres.create(), tmp_path / "home"
    with serving(home, database_url=url) as server:
        with server.client() as client:
            store = client.vector_stores.create(name="loaded").id
        load = Load(server, store)
        with load:
            time.sleep(LOAD_S)
            server_of_postgres.crash()
            time.sleep(DOWN_S)
            server_of_postgres.start_again()
            time.sleep(LOAD_S)
        with server.client(max_retries=5) as client:
            for file_id, word in load.acknowledged.items():
                wait_until_ingested(client, store, file_id)
                found = client.vector_stores.search(store, query=word, ranking_options=BY_WORDS).data
                assert found[0].file_id == file_id
    assert (len(load.acknowledged) > CLIENTS, load.refused) == (True, {503})
    assert problems(home, url, store) == []


class Load:
    """Clients that put in files and search, until the block is left. `acknowledged` are the files and their words."""

    def __init__(self, server: Server, store: str) -> None:
        self.acknowledged: dict[str, str] = {}
        self.refused = set[int]()
        self._server, self._store = server, store
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._put, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _put(self, number: int) -> None:
        with self._server.client() as client:
            for count in itertools.count():
                if self._stop.is_set():
                    return
                try:
                    self._put_one(client, f"badger{number}x{count}")
                except APIStatusError as exc:
                    self.refused.add(exc.status_code)
                    time.sleep(PAUSE_S)

    def _put_one(self, client: OpenAI, word: str) -> None:
        file = client.files.create(file=(f"{word}.md", f"A note on {word}.".encode()), purpose="assistants")
        client.vector_stores.files.create(file_id=file.id, vector_store_id=self._store)
        self.acknowledged[file.id] = word
        client.vector_stores.search(self._store, query=word)


def wait_until_ingested(client: OpenAI, store: str, file_id: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while (found := client.vector_stores.files.retrieve(file_id, vector_store_id=store)).status == "in_progress":
        assert time.monotonic() < until, f"{file_id} is not ingested"
        time.sleep(PAUSE_S)
    assert found.status == "completed", found.last_error


def problems(home: Path, url: str, store: str) -> list[str]:
    services = open_services(Settings(home=home, database_url=url))
    with services.database.read() as session:
        row = find_store(session, DEFAULT_PROJECT, store)
    assert row is not None
    found = [problem.says for problem in find_problems(services, row)]
    services.close()
    return found
