"""What goes over the wire is what OpenAI's specification says, and no input makes the server fail."""

import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from services.api.app import create_app
from services.settings import Settings
from services.wiring import open_services
from tests.fakes.embedder import WordEmbedder

SPEC = Path(__file__).parents[3] / "shared" / "spec" / "openapi.yaml"
EXAMPLES = 20

Ids = dict[str, str]
Call = Callable[[TestClient, Ids], Any]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("wire") / "home"
    services = open_services(Settings(home=home, embedder=WordEmbedder.name, allowed_hosts=("testserver",)))
    services.embedder = WordEmbedder()
    with TestClient(create_app(services)) as client:
        yield client


@pytest.fixture(scope="module")
def ids(client: TestClient) -> Ids:
    """One of each kind, the file being in the store."""
    body = {"files": {"file": ("soil.txt", b"Loam is rich soil.")}, "data": {"purpose": "assistants"}}
    file = client.post("/v1/files", **body).json()["id"]
    failing = client.post("/v1/files", files={"file": ("empty.txt", b"")}, data={"purpose": "assistants"}).json()["id"]
    expiry = {"anchor": "last_active_at", "days": 1}
    store = client.post("/v1/vector_stores", json={"name": "soil", "expires_after": expiry}).json()["id"]
    batch = client.post(f"/v1/vector_stores/{store}/file_batches", json={"file_ids": [file, failing]}).json()["id"]
    while client.get(f"/v1/vector_stores/{store}/file_batches/{batch}").json()["status"] == "in_progress":
        time.sleep(0.05)
    upload = {"filename": "a.txt", "purpose": "assistants", "bytes": 1, "mime_type": "text/plain"}
    upload_id = client.post("/v1/uploads", json=upload).json()["id"]
    return {"file": file, "failing": failing, "store": store, "batch": batch, "upload": upload_id}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    """The specification's schemas, open to the fields that loam adds."""
    if not SPEC.is_file():
        pytest.skip("needs OpenAI's specification in ../shared/spec")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    spec = yaml.load(SPEC.read_text(encoding="utf-8"), Loader=loader)
    opened: dict[str, Any] = _open(spec["components"]["schemas"])
    return opened


def _open(node: Any) -> Any:
    if isinstance(node, list):
        return [_open(item) for item in node]
    if not isinstance(node, dict):
        return str(node) if isinstance(node, date) else node
    kept = {key: _open(value) for key, value in node.items() if (key, value) != ("additionalProperties", False)}
    if kept.pop("nullable", None) is True:
        return {"anyOf": [kept, {"type": "null"}]}
    return kept


def _completed(client: TestClient, ids: Ids) -> Any:
    part = client.post(f"/v1/uploads/{ids['upload']}/parts", files={"data": b"a"}).json()
    return client.post(f"/v1/uploads/{ids['upload']}/complete", json={"part_ids": [part["id"]]})


CALLS: list[tuple[str, Call]] = [
    ("OpenAIFile", lambda client, ids: client.get(f"/v1/files/{ids['file']}")),
    ("ListFilesResponse", lambda client, ids: client.get("/v1/files")),
    ("Upload", lambda client, ids: client.post("/v1/uploads", json=UPLOAD)),
    ("UploadPart", lambda client, ids: client.post(f"/v1/uploads/{ids['upload']}/parts", files={"data": b"a"})),
    ("Upload", _completed),
    ("VectorStoreObject", lambda client, ids: client.get(f"/v1/vector_stores/{ids['store']}")),
    ("VectorStoreObject", lambda client, ids: client.post("/v1/vector_stores", json={})),
    ("VectorStoreObject", lambda client, ids: client.post(f"/v1/vector_stores/{ids['store']}", json={"name": "b"})),
    ("ListVectorStoresResponse", lambda client, ids: client.get("/v1/vector_stores")),
    ("VectorStoreFileObject", lambda client, ids: client.get(f"{_store(ids)}/files/{ids['file']}")),
    ("VectorStoreFileObject", lambda client, ids: client.get(f"{_store(ids)}/files/{ids['failing']}")),
    ("ListVectorStoreFilesResponse", lambda client, ids: client.get(f"{_store(ids)}/files")),
    ("VectorStoreFileContentResponse", lambda client, ids: client.get(f"{_store(ids)}/files/{ids['file']}/content")),
    ("VectorStoreFileBatchObject", lambda client, ids: client.get(f"{_store(ids)}/file_batches/{ids['batch']}")),
    ("ListVectorStoreFilesResponse", lambda client, ids: client.get(f"{_store(ids)}/file_batches/{ids['batch']}/files")),
    ("VectorStoreSearchResultsPage", lambda client, ids: client.post(f"{_store(ids)}/search", json={"query": "loam"})),
    ("DeleteVectorStoreFileResponse", lambda client, ids: client.delete(f"{_store(ids)}/files/{ids['failing']}")),
    ("DeleteFileResponse", lambda client, ids: client.delete(f"/v1/files/{ids['failing']}")),
    ("DeleteVectorStoreResponse", lambda client, ids: client.delete(f"/v1/vector_stores/{ids['store']}")),
    ("ListModelsResponse", lambda client, ids: client.get("/v1/models")),
    ("ErrorResponse", lambda client, ids: client.get("/v1/files/file-none")),
]  # fmt: skip
UPLOAD = {"filename": "a.txt", "purpose": "assistants", "bytes": 1, "mime_type": "text/plain"}


def _store(ids: Ids) -> str:
    return f"/v1/vector_stores/{ids['store']}"


def test_responses_are_of_the_specification(client: TestClient, ids: Ids, schemas: dict[str, Any]) -> None:
    wrong = {}
    for number, (name, call) in enumerate(CALLS):
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        validator = jsonschema_rs.Draft202012Validator(schema)
        response = call(client, ids).json()
        if problems := [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(response)]:
            wrong[f"{number} {name}"] = problems
    assert wrong == {}


def test_no_input_makes_the_server_fail(client: TestClient) -> None:
    """Inputs are made from the server's own schema, such as fit it and such as do not."""
    for operation in schemathesis.openapi.from_asgi("/openapi.json", client.app).get_all_operations():
        _try(operation.ok())


def _try(operation: Any) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE) | operation.as_strategy())
    def check(case: schemathesis.Case) -> None:
        response = case.call()
        assert response.status_code < 500, f"{operation.label}: {response.text}"
        if response.status_code >= 400 and operation.path.startswith("/v1/"):
            assert response.json()["error"].keys() == {"message", "type", "param", "code"}

    check()
