"""Every error in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from prompts import PromptError
from rag.errors import RagError
from services.api.wire import BRANCH
from services.errors import CircuitOpen, RateLimited, ServiceError, http_form

log = logging.getLogger(__name__)


def error_body(error: Exception) -> dict[str, Any]:
    """Give the wire form of any error; one that was not foreseen says nothing of its inside."""
    form = http_form(error)
    foreseen = isinstance(error, ServiceError | RagError | PromptError)
    message = str(error) if foreseen else "The server had an error while processing your request."
    return _body(message, form.type, getattr(error, "param", None), form.code)


def error_response(error: Exception) -> JSONResponse:
    """Give the HTTP response for any error, with `retry-after` where it is known."""
    headers: dict[str, str] = {}
    if isinstance(error, RateLimited | CircuitOpen) and error.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    return JSONResponse(error_body(error), http_form(error).status, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Make the app answer every error in OpenAI's shape. Those not foreseen are the middleware's."""
    for kind in (ServiceError, RagError, PromptError):
        app.add_exception_handler(kind, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


async def _on_domain_error(_request: Request, error: Exception) -> JSONResponse:
    return error_response(error)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ServiceError):
        # Raised while the body was being read: FastAPI wraps it.
        return error_response(error.__cause__)
    messages = {
        404: f"Unknown request URL: {request.method} {request.url.path}. Please check the URL for typos.",
        405: f"Not allowed to {request.method} on {request.url.path}.",
    }
    code = "unknown_url" if error.status_code == 404 else None
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    body = _body(messages.get(error.status_code, str(error.detail)), kind, None, code)
    return JSONResponse(body, error.status_code, error.headers)


async def _on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        message = f"We could not parse the JSON body of your request: {first['ctx']['error']}."
        return JSONResponse(_body(message, "invalid_request_error", None, "invalid_json"), 400)
    param = _param(first["loc"])
    more = len(error.errors()) - 1
    said = first["msg"].removeprefix("Value error, ")
    message = f"Invalid value for {param!r}: {said}." if param else f"Invalid request: {said}."
    if first["type"] == "missing":
        message = f"Missing required parameter: {param!r}." if param else "The request must have a JSON body."
    elif first["loc"] == ("body",) and first["type"].endswith("attributes_type"):
        # FastAPI does not read a body of another content type as JSON: curl's default is a form.
        message = "The body must be a JSON object, sent with the header 'Content-Type: application/json'."
    elif first["type"] == "extra_forbidden":
        message = f"Unrecognized request argument supplied: {param}."
    if more:
        message += f" ({more} more problem{'s' if more > 1 else ''})"
    return JSONResponse(_body(message, "invalid_request_error", param, _code(first)), 400)


def _param(location: tuple[Any, ...]) -> str | None:
    path = ""
    for part in location[1:]:
        if str(part).startswith(BRANCH):
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or None


def _code(problem: Mapping[str, Any]) -> str | None:
    codes = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}
    if problem["type"] in codes:
        return codes[problem["type"]]
    return "invalid_type" if problem["type"].endswith(("_type", "_parsing")) else "invalid_value"


def _body(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
