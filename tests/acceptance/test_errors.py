"""Every error is in OpenAI's shape, whatever raised it."""

import http.client
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from openai import APIStatusError

from tests.acceptance.serving import Server, serving

pytestmark = pytest.mark.acceptance

MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes little."""
    home = tmp_path_factory.mktemp("small") / "home"
    with serving(home, max_file_bytes="1000", max_body_bytes="2000") as server:
        yield server


def error_of(response: httpx.Response) -> dict[str, object]:
    """The error, its shape checked."""
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["message"] and body["error"]["type"]
    assert response.headers["x-request-id"].startswith("req_")
    return body["error"]


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "code"),
    [
        ("GET", "/v1/nothing", {}, 404, "unknown_url"),
        ("PUT", "/v1/files", {}, 405, None),
        ("GET", "/v1/files/file-none", {}, 404, None),
        ("GET", "/v1/vector_stores?limit=0", {}, 400, "invalid_value"),
        ("GET", "/v1/vector_stores?limit=many", {}, 400, "invalid_type"),
        ("GET", "/v1/vector_stores?after=vs_none", {}, 400, "invalid_cursor"),
        ("POST", "/v1/vector_stores", {"content": b"{", "headers": JSON}, 400, "invalid_json"),
        ("POST", "/v1/vector_stores", {"content": b"\xff", "headers": JSON}, 400, None),
        ("POST", "/v1/vector_stores", {"content": b"[" * 100_000, "headers": JSON}, 400, None),
        ("POST", "/v1/vector_stores", {"content": b"9" * 5_000, "headers": JSON}, 400, None),
        ("POST", "/v1/vector_stores", {"content": b'{"name": "\\ud800"}', "headers": JSON}, 400, "invalid_value"),
        ("POST", "/v1/vector_stores", {"content": b'{"\\ud800": 1}', "headers": JSON}, 400, "invalid_value"),
        ("POST", "/v1/vector_stores", {"json": {"name": 3}}, 400, "invalid_type"),
        ("POST", "/v1/vector_stores", {"json": {"metadata": {str(n): "" for n in range(17)}}}, 400, "invalid_value"),
        ("POST", "/v1/vector_stores", {"json": {"name": "a\0"}}, 400, "invalid_value"),
        ("POST", "/v1/vector_stores", {"json": {"nonsense": 1}}, 400, "unknown_parameter"),
        ("POST", "/v1/vector_stores", {"json": []}, 400, "invalid_type"),
        ("POST", "/v1/files", {"content": b"junk", "headers": MULTIPART}, 400, None),
        ("POST", "/v1/files", {"data": {"purpose": "assistants"}}, 400, "missing_required_parameter"),
        ("POST", "/v1/files", {"files": {"file": b"a"}}, 400, "missing_required_parameter"),
        ("POST", "/v1/files", {"files": {"file": b"a"}, "data": {"purpose": "fun"}}, 400, "invalid_value"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told_what_is_wrong(
    server: Server, method: str, path: str, request_: dict[str, object], status: int, code: str | None
) -> None:
    response = httpx.request(method, server.url + path, **request_)

    error = error_of(response)
    assert (response.status_code, error["code"], error["type"]) == (status, code, "invalid_request_error")


def test_a_json_body_of_another_content_type_is_told_which_to_send(server: Server) -> None:
    headers = {"content-type": "text/plain"}
    response = httpx.post(f"{server.base_url}/vector_stores", content=b'{"name": "a"}', headers=headers)

    assert response.status_code == 400
    assert "Content-Type: application/json" in str(error_of(response)["message"])


def test_a_file_over_the_limit_is_refused(small: Server) -> None:
    with small.client() as client, pytest.raises(APIStatusError, match="over the limit of 1000 bytes") as refused:
        client.files.create(file=("a", b"a" * 1001), purpose="assistants")

    assert refused.value.status_code == 413
    assert list((small.home / "blobs").rglob("*/*")) == []


def test_a_body_over_the_limit_is_refused_by_its_declared_length(small: Server) -> None:
    response = httpx.post(f"{small.base_url}/vector_stores", json={"name": "a" * 3000})

    assert (response.status_code, "2000 bytes" in str(error_of(response)["message"])) == (413, True)


@pytest.mark.parametrize(("path", "headers"), [("/v1/vector_stores", JSON), ("/v1/files", MULTIPART)])
def test_a_body_over_the_limit_is_refused_whatever_it_declares(
    small: Server, path: str, headers: dict[str, str]
) -> None:
    connection = http.client.HTTPConnection(small.url.removeprefix("http://"))
    pieces = (b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n', *[b"a" * 2**16] * 40)
    with suppress(BrokenPipeError):  # Refused before all of it was sent.
        connection.request("POST", path, body=iter(pieces), headers=headers, encode_chunked=True)
    response = connection.getresponse()

    assert (response.status, json.load(response)["error"]["type"]) == (413, "invalid_request_error")
    connection.close()


def test_what_was_not_foreseen_says_nothing_of_the_inside(small: Server, tmp_path: Path) -> None:
    with small.client() as client:
        store = client.vector_stores.create(name="kept")
        (small.home / "blobs").rename(tmp_path / "gone")
        (small.home / "blobs").write_text("not a folder")
        with pytest.raises(APIStatusError) as failed:
            client.files.create(file=("a", b"a"), purpose="assistants")
        (small.home / "blobs").unlink()
        (tmp_path / "gone").rename(small.home / "blobs")

        assert failed.value.status_code == 500
        assert failed.value.body == {
            "message": "The server had an error while processing your request.",
            "type": "server_error", "param": None, "code": None,
        }  # fmt: skip
        assert [file.id for file in client.files.list()] == []
        assert client.vector_stores.retrieve(store.id).name == "kept"
