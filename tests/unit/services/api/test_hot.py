from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from services.api.app import create_app
from services.wiring import Services

ASKED = {"model": "extractive", "messages": [{"role": "user", "content": "Hello"}]}
PATH = "/v1/chat/completions"


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    # Without the lifespan: nothing runs beside it.
    yield TestClient(create_app(services), base_url="http://localhost")


@pytest.fixture
def slow_way(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that FastAPI's own routes have handled."""
    handled: list[str] = []
    handle = APIRoute.handle

    async def noting(self: APIRoute, scope: Any, receive: Any, send: Any) -> None:
        handled.append(self.path)
        await handle(self, scope, receive, send)

    monkeypatch.setattr(APIRoute, "handle", noting)
    return handled


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_a_request_in_order_goes_the_short_way(client: TestClient, slow_way: list[str], content_type: str) -> None:
    response = client.post(PATH, json=ASKED, headers={"content-type": content_type})

    assert (response.status_code, response.json()["model"], slow_way) == (200, "extractive", [])
    assert response.headers["x-request-id"]
    assert f'path="{PATH}",status="200"' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "content_type", "code", "said"),
    [
        (b'{"model": ', "application/json", "invalid_json", "could not parse"),
        (b"[" * 100_000, "application/json", None, ""),
        (b'{"model": "extractive"}', "application/json", "missing_required_parameter", "'messages'"),
        (b'{"model": "extractive"}', "text/plain", None, "Content-Type: application/json"),
        (b"", "application/json", "missing_required_parameter", "must have a JSON body"),
    ],
)
def test_what_is_not_is_told_by_the_documented_route(
    client: TestClient, slow_way: list[str], body: bytes, content_type: str, code: str | None, said: str
) -> None:
    response = client.post(PATH, content=body, headers={"content-type": content_type})

    assert (response.status_code, slow_way) == (400, [PATH])
    assert code is None or response.json()["error"]["code"] == code
    assert said in response.json()["error"]["message"]


def test_an_error_of_the_handler_has_the_form_of_any_other(client: TestClient, slow_way: list[str]) -> None:
    response = client.post(PATH, json={**ASKED, "model": "none"})

    assert (response.status_code, response.json()["error"]["code"], slow_way) == (404, "model_not_found", [])
