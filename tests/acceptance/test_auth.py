"""Who may call, and that projects never see each other."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AuthenticationError, NotFoundError, OpenAI

from services.storage.database import Database
from services.storage.keys import create_key
from services.storage.tables import ProjectRow
from tests.acceptance.serving import LOAM, Server, serving

pytestmark = pytest.mark.acceptance


def keys(home: Path, *verb: str) -> str:
    command = [LOAM, "--home", str(home), "keys", *verb]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for keys."""
    home = tmp_path_factory.mktemp("guarded") / "home"
    keys(home, "create", "--name", "first")
    with serving(home, require_key="true") as server:
        yield server


@pytest.fixture(scope="module")
def mine(guarded: Server) -> Iterator[OpenAI]:
    with guarded.client(json.loads(keys(guarded.home, "create", "--json"))["key"]) as client:
        yield client


@pytest.fixture(scope="module")
def theirs(guarded: Server) -> Iterator[OpenAI]:
    """A client of another project."""
    database = Database(f"sqlite:///{guarded.home / 'loam.db'}")
    with database.write() as session:
        session.add(ProjectRow(id="other", created_at=0))
        session.flush()
        _, secret = create_key(session, "other", "theirs")
    database.close()
    with guarded.client(secret) as client:
        yield client


@pytest.mark.parametrize("key", ["none", "sk-loam-wrong", "é" * 4])
def test_a_wrong_key_is_refused(guarded: Server, key: str) -> None:
    response = httpx.get(f"{guarded.base_url}/files", headers={"authorization": f"Bearer {key}".encode()})

    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/v1/files", "/v1/vector_stores", "/v1/models", "/v1/nothing"])
def test_nothing_of_the_api_is_had_without_a_key(guarded: Server, path: str) -> None:
    response = httpx.get(guarded.url + path)

    assert (response.status_code, response.json()["error"]["type"]) == (401, "invalid_request_error")


def test_a_body_without_a_key_is_refused_before_it_is_read(guarded: Server) -> None:
    response = httpx.post(f"{guarded.base_url}/vector_stores", content=b"{", headers={"content-type": "text/plain"})

    assert response.status_code == 401


def test_health_needs_no_key(guarded: Server) -> None:
    assert httpx.get(f"{guarded.url}/healthz").status_code == 200


def test_a_revoked_key_is_refused_at_once(guarded: Server) -> None:
    made = json.loads(keys(guarded.home, "create", "--json"))
    with guarded.client(made["key"]) as client:
        client.files.list()
        keys(guarded.home, "revoke", made["id"])
        with pytest.raises(AuthenticationError):
            client.files.list()


def test_a_server_for_others_does_not_start_without_a_key(home: Path) -> None:
    command = [LOAM, "--home", str(home), "serve", "--host", "0.0.0.0", "--port", "0"]
    started = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert started.returncode == 1
    assert "needs an API key and there is none" in started.stderr


@pytest.fixture(scope="module")
def belongings(mine: OpenAI) -> dict[str, str]:
    """A file, a store and a batch of the default project."""
    file = mine.files.create(file=("secret.txt", b"The vault opens at noon."), purpose="assistants")
    store = mine.vector_stores.create(name="secret")
    batch = mine.vector_stores.file_batches.create_and_poll(store.id, file_ids=[file.id])
    upload = mine.uploads.create(filename="a", purpose="assistants", bytes=1, mime_type="text/plain")
    return {"file": file.id, "store": store.id, "batch": batch.id, "upload": upload.id}


@pytest.mark.parametrize(
    "call",
    [
        lambda client, ids: client.files.retrieve(ids["file"]),
        lambda client, ids: client.files.content(ids["file"]),
        lambda client, ids: client.files.delete(ids["file"]),
        lambda client, ids: client.uploads.cancel(ids["upload"]),
        lambda client, ids: client.uploads.parts.create(ids["upload"], data=b"a"),
        lambda client, ids: client.uploads.complete(ids["upload"], part_ids=["part_none"]),
        lambda client, ids: client.vector_stores.retrieve(ids["store"]),
        lambda client, ids: client.vector_stores.update(ids["store"], name="mine now"),
        lambda client, ids: client.vector_stores.delete(ids["store"]),
        lambda client, ids: client.vector_stores.search(ids["store"], query="vault"),
        lambda client, ids: client.vector_stores.create(file_ids=[ids["file"]]),
        lambda client, ids: client.vector_stores.files.list(ids["store"]),
        lambda client, ids: client.vector_stores.files.retrieve(ids["file"], vector_store_id=ids["store"]),
        lambda client, ids: client.vector_stores.files.content(ids["file"], vector_store_id=ids["store"]),
        lambda client, ids: client.vector_stores.files.delete(ids["file"], vector_store_id=ids["store"]),
        lambda client, ids: client.vector_stores.files.create(ids["store"], file_id=ids["file"]),
        lambda client, ids: client.vector_stores.files.update(ids["file"], vector_store_id=ids["store"], attributes={}),
        lambda client, ids: client.vector_stores.file_batches.retrieve(ids["batch"], vector_store_id=ids["store"]),
        lambda client, ids: client.vector_stores.file_batches.cancel(ids["batch"], vector_store_id=ids["store"]),
        lambda client, ids: client.vector_stores.file_batches.list_files(ids["batch"], vector_store_id=ids["store"]),
    ],
)
def test_what_belongs_to_another_project_is_not_found(
    theirs: OpenAI, belongings: dict[str, str], call: Callable[[OpenAI, dict[str, str]], Any]
) -> None:
    with pytest.raises(NotFoundError):
        call(theirs, belongings)


def test_a_file_of_another_project_cannot_be_put_into_ones_own_store(
    theirs: OpenAI, belongings: dict[str, str]
) -> None:
    store = theirs.vector_stores.create()

    with pytest.raises(NotFoundError, match="No such File object"):
        theirs.vector_stores.files.create(store.id, file_id=belongings["file"])


def test_lists_hold_only_ones_own(theirs: OpenAI, belongings: dict[str, str]) -> None:
    assert belongings["file"] not in {file.id for file in theirs.files.list()}
    assert belongings["store"] not in {store.id for store in theirs.vector_stores.list()}


def test_an_idempotency_key_is_of_its_project(mine: OpenAI, theirs: OpenAI) -> None:
    made = {
        client.vector_stores.create(name="a", extra_headers={"Idempotency-Key": "shared"}).id
        for client in (mine, theirs)
    }
    assert len(made) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "["},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://localhost.evil.example"},
    ],
)
def test_a_web_page_cannot_use_a_server_without_keys(server: Server, headers: dict[str, str]) -> None:
    response = httpx.post(f"{server.base_url}/vector_stores", json={}, headers=headers)

    assert (response.status_code, response.json()["error"]["type"]) == (403, "invalid_request_error")


def test_a_page_on_this_machine_may_use_it(server: Server) -> None:
    headers = {"origin": "http://localhost:3000"}

    response = httpx.get(f"{server.base_url}/files", headers=headers)

    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_a_browser_may_ask_first_without_its_key(guarded: Server) -> None:
    headers = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    assert httpx.options(f"{guarded.base_url}/files", headers=headers).status_code == 200
