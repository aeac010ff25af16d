"""What goes over the wire is what OpenAI's specification says, and no input makes the server fail."""

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from finetune.config import Tuning
from finetune.errors import TrainingFailed
from finetune.prepare import Preparing
from services.api.app import create_app
from services.settings import ModelSettings, Settings
from services.wiring import open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.trainer import FakePreparation, create_job, use_fakes
from tests.fakes.upstream import Upstream, completion, text_completion

SPEC = Path(__file__).parents[3] / "shared" / "spec" / "openapi.yaml"
EXAMPLES = 20
REFUSED, NEVER_CHECKED = 1, 2

Ids = dict[str, str]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("wire") / "home"
    hosted = ModelSettings(id="hosted", engine="openai", source="m", base_url=f"{upstream.url}/v1")
    services = open_services(
        Settings(home=home, embedder=WordEmbedder.name, allowed_hosts=("testserver",), models=(hosted,))
    )
    services.embedder = WordEmbedder()
    use_fakes(services, prepare=by_seed)
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
    upload = client.post("/v1/uploads", json=UPLOAD).json()["id"]
    return {"file": file, "failing": failing, "store": store, "batch": batch, "upload": upload, **tuned(client)}


def tuned(client: TestClient) -> Ids:
    """A fine-tuning job that has succeeded, one that has failed, and one whose files are being checked."""
    services = client.app.state.services  # type: ignore[attr-defined]
    ids = {
        "tuned": create_job(services, metadata={"team": "soil"}),
        "refused": create_job(services, tuning=Tuning(seed=REFUSED)),
        "checked": create_job(services, tuning=Tuning(seed=NEVER_CHECKED)),
    }
    for name, status in {"tuned": "succeeded", "refused": "failed"}.items():
        while client.get(f"/v1/fine_tuning/jobs/{ids[name]}").json()["status"] != status:
            time.sleep(0.05)
    return ids


def by_seed(preparing: Preparing) -> FakePreparation:
    """A check of files whose end the job's seed says."""
    error = TrainingFailed("Broken.") if preparing.tuning.seed == REFUSED else None
    return FakePreparation(preparing, error, asked=10**9 if preparing.tuning.seed == NEVER_CHECKED else 0)


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
    if kept.get("exclusiveMinimum") is True:  # As JSON Schema had it before 2019.
        kept["exclusiveMinimum"] = kept.pop("minimum")
    if kept.pop("nullable", None) is True:
        return {"anyOf": [kept, {"type": "null"}]}
    return kept


UPLOAD = {"filename": "a.txt", "purpose": "assistants", "bytes": 1, "mime_type": "text/plain"}
CALLS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("OpenAIFile", "GET", "/files/{file}", {}),
    ("ListFilesResponse", "GET", "/files", {}),
    ("Upload", "POST", "/uploads", {"json": UPLOAD}),
    ("UploadPart", "POST", "/uploads/{upload}/parts", {"files": {"data": b"a"}}),
    ("Upload", "POST", "/uploads/{upload}/cancel", {}),
    ("VectorStoreObject", "GET", "/vector_stores/{store}", {}),
    ("VectorStoreObject", "POST", "/vector_stores", {"json": {}}),
    ("VectorStoreObject", "POST", "/vector_stores/{store}", {"json": {"name": "b"}}),
    ("ListVectorStoresResponse", "GET", "/vector_stores", {}),
    ("VectorStoreFileObject", "GET", "/vector_stores/{store}/files/{file}", {}),
    ("VectorStoreFileObject", "GET", "/vector_stores/{store}/files/{failing}", {}),
    ("ListVectorStoreFilesResponse", "GET", "/vector_stores/{store}/files", {}),
    ("VectorStoreFileContentResponse", "GET", "/vector_stores/{store}/files/{file}/content", {}),
    ("VectorStoreFileBatchObject", "GET", "/vector_stores/{store}/file_batches/{batch}", {}),
    ("ListVectorStoreFilesResponse", "GET", "/vector_stores/{store}/file_batches/{batch}/files", {}),
    ("VectorStoreSearchResultsPage", "POST", "/vector_stores/{store}/search", {"json": {"query": "loam"}}),
    ("DeleteVectorStoreFileResponse", "DELETE", "/vector_stores/{store}/files/{failing}", {}),
    ("DeleteFileResponse", "DELETE", "/files/{failing}", {}),
    ("DeleteVectorStoreResponse", "DELETE", "/vector_stores/{store}", {}),
    ("ListModelsResponse", "GET", "/models", {}),
    ("FineTuningJob", "GET", "/fine_tuning/jobs/{tuned}", {}),
    ("FineTuningJob", "GET", "/fine_tuning/jobs/{refused}", {}),
    ("FineTuningJob", "GET", "/fine_tuning/jobs/{checked}", {}),
    ("FineTuningJob", "POST", "/fine_tuning/jobs/{checked}/cancel", {}),
    ("ListPaginatedFineTuningJobsResponse", "GET", "/fine_tuning/jobs?metadata[team]=soil", {}),
    ("ListFineTuningJobEventsResponse", "GET", "/fine_tuning/jobs/{tuned}/events", {}),
    ("ListFineTuningJobCheckpointsResponse", "GET", "/fine_tuning/jobs/{tuned}/checkpoints", {}),
    ("CreateCompletionResponse", "POST", "/completions", {"json": {"model": "hosted", "prompt": "a"}}),
    ("CreateModerationResponse", "POST", "/moderations", {"json": {"model": "hosted", "input": "a"}}),
    ("TokenCountsResource", "POST", "/responses/input_tokens", {"json": {"input": "a"}}),
    ("ErrorResponse", "POST", "/moderations", {"json": {"input": "a"}}),
    ("ErrorResponse", "GET", "/files/file-none", {}),
]
REPLIES = [text_completion("b"), completion('{"hate": 0.7}')]


def test_responses_are_of_the_specification(
    client: TestClient, upstream: Upstream, ids: Ids, schemas: dict[str, Any]
) -> None:
    upstream.script(*REPLIES)
    wrong = {}
    for name, method, path, body in CALLS:
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        validator = jsonschema_rs.Draft202012Validator(schema)
        response = client.request(method, "/v1" + path.format(**ids), **body).json()
        if problems := [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(response)]:
            wrong[f"{method} {path}"] = problems
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
