"""What an operator asks a server."""

import re
import time
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.acceptance.serving import Server, serving

pytestmark = pytest.mark.acceptance


def test_the_service_says_how_it_is(server: Server) -> None:
    assert httpx.get(f"{server.url}/healthz").json()["status"] == "ok"
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
    assert httpx.get(f"{server.url}/version").json().keys() == {"version"}
    httpx.get(f"{server.base_url}/files/file-none")
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'loam_requests_total{method="GET",path="/v1/files/{file_id}",status="404"}' in metrics


def test_the_page_of_routes_needs_no_other_server(server: Server) -> None:
    page = httpx.get(f"{server.url}/docs").text
    parts = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert any(part.endswith(".js") for part in parts)
    assert not [part for part in parts if not urljoin(server.url, part).startswith(server.url)]
    assert {part: httpx.get(urljoin(server.url, part)).status_code for part in parts} == dict.fromkeys(parts, 200)


def test_the_schema_says_which_routes_take_a_key(server: Server) -> None:
    paths = httpx.get(f"{server.url}/openapi.json", timeout=60).json()["paths"]
    keyless = {path for path, methods in paths.items() if not all("security" in one for one in methods.values())}
    assert keyless == {"/health", "/healthz", "/readyz", "/version", "/metrics"}
    assert "/v1/chat/completions" in paths


@pytest.mark.parametrize("path", ["/health", "/healthz", "/readyz"])
def test_a_probe_may_ask_for_the_head_alone(server: Server, path: str) -> None:
    while "being loaded" in httpx.get(f"{server.url}/readyz").text:
        time.sleep(0.2)
    response = httpx.head(server.url + path)

    assert (response.status_code, response.content) == (200, b"")


def test_a_server_whose_embedder_cannot_be_loaded_says_so_and_does_the_rest(home: Path) -> None:
    with serving(home, embedder="no/such-model") as server, server.client() as client:
        assert client.files.create(file=("a", b"a"), purpose="assistants").bytes == 1
        while "being loaded" in (response := httpx.get(f"{server.url}/readyz")).text:
            time.sleep(0.2)
        assert response.status_code == 503
        assert "no/such-model" in response.json()["error"]["message"]
