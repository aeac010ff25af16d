"""A response: the conversation rebuilt, the turn prepared and written, the whole kept where it is to be kept."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any

from rag.types import Hit
from services.answering import Turn, in_worker, prepare
from services.api.chat.cited import Sending
from services.api.responses.events import Event, Writing
from services.api.responses.items import input_items, messages_of
from services.api.responses.schemas import FunctionTool, ResponseRequest, TokenCountRequest, response_format
from services.api.streaming import failed
from services.errors import BadRequest, NotFound
from services.ids import RESPONSE, new_id
from services.model_table import DEFAULT
from services.storage.paging import PageRequest
from services.storage.responses import conversation, delete_response, find_response, save_response
from services.storage.tables import ResponseRow
from services.token_counts import count_input
from services.wiring import Services

# What engines call the parameters that have another name here.
_NAMES = {"response_format": "text.format", "reasoning_effort": "reasoning.effort", "verbosity": "text.verbosity"}


async def create(services: Services, project_id: str, asked: ResponseRequest) -> dict[str, Any]:
    """Give the whole response."""
    async with aclosing(_events(services, project_id, asked)) as events:
        async for event in events:
            last = event
    response: dict[str, Any] = last["response"]
    return response


async def stream(services: Services, project_id: str, asked: ResponseRequest) -> AsyncGenerator[Event]:
    """Give the events of a response; what fails after the first is the last of them."""
    begun = None
    try:
        async with aclosing(_events(services, project_id, asked)) as events:
            async for event in events:
                begun = event
                yield event
    except Exception as exc:
        if begun is None:
            raise
        yield Writing.failed(failed(exc)["error"], begun["sequence_number"] + 1)


def count_tokens(services: Services, project_id: str, asked: TokenCountRequest) -> dict[str, Any]:
    """Count the tokens that a response would be written from. Raises BadRequest where that cannot be known."""
    messages = _messages(services, project_id, asked, input_items(asked.input or []))
    tools = [_as_function(tool) for tool in asked.tools or ()]
    counted = count_input(services, project_id, asked.model or DEFAULT, messages, tools)
    return {"object": "response.input_tokens", "input_tokens": counted}


def find(services: Services, project_id: str, response_id: str) -> ResponseRow:
    """Give a stored response. Raises NotFound."""
    with services.database.read() as session:
        row = find_response(session, project_id, response_id)
    if row is None:
        raise NotFound(f"Response with id {response_id!r} not found.")
    return row


def delete(services: Services, project_id: str, response_id: str) -> None:
    """Delete a stored response. Raises NotFound."""
    with services.database.write() as session:
        if not delete_response(session, project_id, response_id):
            raise NotFound(f"Response with id {response_id!r} not found.")


def page_of(items: list[dict[str, Any]], page: PageRequest) -> dict[str, Any]:
    """Give a page of a response's input items. Raises BadRequest where there is none to go on from."""
    ordered = items[::-1] if page.descending else items
    ids = [item["id"] for item in ordered]
    for cursor in (page.after, page.before):
        if cursor is not None and cursor not in ids:
            raise BadRequest(f"No input item has the id {cursor!r}.")
    start = ids.index(page.after) + 1 if page.after else 0
    end = ids.index(page.before) if page.before else len(ids)
    within = ordered[start:end]
    shown = within[-page.limit :] if page.before else within[: page.limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(within) > len(shown),
    }


async def _events(services: Services, project_id: str, asked: ResponseRequest) -> AsyncGenerator[Event]:
    items = input_items(asked.input)
    turn = await in_worker(partial(_prepared, services, project_id, asked, items))
    with _in_its_own_words():
        turn, written = await turn.streamed()
    async with aclosing(Sending(turn, whole=not asked.stream).chunks(written)) as chunks:
        # Nothing is said before the engine has: until then a failure has a status of its own.
        with _in_its_own_words():
            first = await anext(chunks)
        writing = Writing(_begun(asked, turn))
        for event in (*writing.begin(), *_searched(asked, turn, writing), *writing.feed(first)):
            yield event
        async for chunk in chunks:
            for event in writing.feed(chunk):
                yield event
    for event in writing.end():
        yield event
    if asked.store is not False:
        await in_worker(partial(_save, services, project_id, items, writing.response))
    yield writing.ended()


def _prepared(services: Services, project_id: str, asked: ResponseRequest, items: list[dict[str, Any]]) -> Turn:
    wanted = asked.file_search()
    messages = _messages(services, project_id, asked, items)
    search = None
    if wanted is not None:
        place, tool = wanted
        search = tool.to_search(services.settings.max_num_results, place=f"tools[{place}]")
    with _in_its_own_words():
        return prepare(
            services, project_id, model=asked.model, messages=messages, params=_params(asked), file_search=search
        )


@contextmanager
def _in_its_own_words() -> Iterator[None]:
    """Let a refusal name what was asked for as it is spelt here."""
    try:
        yield
    except BadRequest as exc:
        if exc.param in _NAMES:
            name = _NAMES[exc.param]
            raise BadRequest(str(exc).replace(exc.param, name), param=name, code=exc.code) from exc
        raise


def _messages(
    services: Services, project_id: str, asked: ResponseRequest | TokenCountRequest, items: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    messages = messages_of([*_earlier(services, project_id, asked.previous_response_id), *items])
    if asked.instructions is not None:
        messages.insert(0, {"role": "system", "content": asked.instructions})
    return messages


def _earlier(services: Services, project_id: str, previous_id: str | None) -> list[dict[str, Any]]:
    """Give the items of the conversation so far, oldest first. Raises BadRequest where there is none."""
    if previous_id is None:
        return []
    with services.database.read() as session:
        line = conversation(session, project_id, previous_id)
    if not line:
        raise BadRequest(
            f"Previous response with id {previous_id!r} not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    return [item for row in line for item in (*row.input, *row.body["output"])]


def _params(asked: ResponseRequest) -> dict[str, Any]:
    """Give what is asked of the engine, as chat completions spell it."""
    functions = [_as_function(tool) for tool in asked.functions()]
    params = {
        "max_completion_tokens": asked.max_output_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "tools": functions or None,
        "tool_choice": _tool_choice(asked.tool_choice) if functions else None,
        "parallel_tool_calls": asked.parallel_tool_calls if functions else None,
        "response_format": response_format(asked.text),
        "verbosity": asked.text and asked.text.verbosity,
        "reasoning_effort": asked.reasoning and asked.reasoning.effort,
        "user": asked.user,
        "stream_options": {"include_usage": True},
    }
    return {name: value for name, value in params.items() if value is not None}


def _as_function(tool: FunctionTool) -> dict[str, Any]:
    """Give a tool as chat completions spell it."""
    given = tool.model_dump(exclude={"type"}, exclude_none=True)
    return {"type": "function", "function": given}


def _tool_choice(given: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if not isinstance(given, dict):
        return given
    if given.get("type") == "function":
        return {"type": "function", "function": {"name": given.get("name")}}
    if given.get("type") == "file_search":
        return "auto"  # documents are always searched where they are named
    raise BadRequest(f"A tool_choice of the type {given.get('type')!r} is not supported.", param="tool_choice")


def _searched(asked: ResponseRequest, turn: Turn, writing: Writing) -> list[Event]:
    if turn.grounding is None:
        return []
    shown = "file_search_call.results" in (asked.include or ())
    results = [_result(hit) for hit in turn.grounding.sources] if shown else None
    return list(writing.searched(list(turn.grounding.queries), results))


def _result(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {
        "file_id": passage.file_id,
        "filename": passage.filename,
        "score": round(hit.score, 6),
        "text": passage.text,
        "attributes": dict(passage.attributes),
    }


def _begun(asked: ResponseRequest, turn: Turn) -> dict[str, Any]:
    """Give the response as it stands before anything is written."""
    text = asked.text.model_dump(exclude_none=True) if asked.text else {}
    reasoning = asked.reasoning.model_dump(exclude_none=True) if asked.reasoning else {}
    return {
        "id": new_id(RESPONSE),
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "max_tool_calls": asked.max_tool_calls,
        "metadata": asked.metadata or {},
        "model": turn.route.model_id,
        "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": asked.previous_response_id,
        "reasoning": {"effort": None, "summary": None} | reasoning,
        "store": asked.store is not False,
        "temperature": asked.temperature,
        "text": {"format": {"type": "text"}} | text,
        "tool_choice": asked.tool_choice or "auto",
        "tools": [tool.model_dump() for tool in asked.tools or ()],
        "top_logprobs": 0,
        "top_p": asked.top_p,
        "truncation": asked.truncation or "disabled",
        "usage": None,
        "user": asked.user,
    }


def _save(services: Services, project_id: str, items: list[dict[str, Any]], response: dict[str, Any]) -> None:
    with services.database.write() as session:
        save_response(
            session,
            project_id,
            response_id=response["id"],
            previous_id=response["previous_response_id"],
            input_items=items,
            body=response,
        )
