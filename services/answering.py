"""One turn with a model, grounded in documents where some are named: what the API and the command line share.

`prepare` is everything before the engine writes and is synchronous: call it in a worker thread.
`conclude` checks what a quoting or a writing engine gave. `ask` is the whole turn at once.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from prompts import Message
from rag.answer import Asking, concluded, finish, ground, refusal
from rag.confidence import Confidence
from rag.retrieve import SearchOptions
from rag.support import Check, Judge, Policy
from rag.types import Answer, Citation, Grounding, Passage
from services.calibrations import confidence_of
from services.engines.engine import ChatRequest
from services.engines.extractive import texts_of
from services.engines.fallback import Answered, Candidate, Line, Tried, line_up
from services.engines.generator import EngineGenerator
from services.engines.parameters import effective
from services.engines.router import Route
from services.errors import BadRequest, NotFound
from services.model_table import EXTRACTIVE
from services.settings import AliasSettings
from services.storage.pages import find_outline, read_span
from services.storage.vector_stores import find_store_by_name
from services.wiring import Services

MAX_PREPARING = 128

Result = TypeVar("Result")
_workers: RunVar[anyio.CapacityLimiter] = RunVar("workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSearch:
    """The documents that a caller wants an answer from; what is None is left to the alias, then to the defaults."""

    store_ids: tuple[str, ...]
    options: SearchOptions | None = None
    decompose: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A request ready for its engine: what to send, to whom, and who stands in. `tried` did not answer it.

    `refusal` is the sentence that says that the documents do not answer; empty where none are asked.
    `check` judges what a model writes, statement by statement, `confidence` the whole of it where the model is
    calibrated; `calibrated` gives that of a model that stands in.
    `is_json` says that the answer is held to JSON: nothing of it is judged, since no sentence could take its place.
    `begun` is the clock, in seconds, when all that comes before the engine was done.
    """

    line: Line[ChatRequest]
    refusal: str
    check: Check | None = None
    confidence: Confidence | None = None
    calibrated: Callable[[Route], Confidence | None] = lambda _route: None
    tried: tuple[Tried, ...] = ()
    is_json: bool = False
    begun: float = field(default_factory=time.perf_counter)

    @property
    def route(self) -> Route:
        """Give where the answer comes from: from the first in line, until another has stood in."""
        return self.line.first.route

    @property
    def request(self) -> ChatRequest:
        return self.line.first.request

    @property
    def grounding(self) -> Grounding | None:
        return self.request.grounding

    @property
    def judges(self) -> bool:
        """Whether what is written is judged, which takes long enough to be done in a worker thread."""
        return self.check is not None or self.confidence is not None

    async def answered(self) -> tuple["Turn", dict[str, Any]]:
        """Give the completion, and the turn as it belongs to the model that wrote it."""
        answered = await self.line.answer(lambda candidate: candidate.route.engine.chat(candidate.request))
        return self._of(answered), answered.result

    async def streamed(self) -> tuple["Turn", AsyncGenerator[dict[str, Any]]]:
        """Give the chunks of the completion, and the turn as it belongs to the model that writes it."""
        answered = await self.line.stream(lambda candidate: candidate.route.engine.stream(candidate.request))
        return self._of(answered), answered.result

    def _of(self, answered: Answered[ChatRequest, Any]) -> "Turn":
        if not answered.tried:
            return self
        other = answered.candidate
        return replace(self, line=Line(first=other), tried=answered.tried, confidence=self.calibrated(other.route))


async def in_worker(work: Callable[[], Result]) -> Result:
    """Run synchronous steps in a thread; not one of the app's own, since some wait there for a model."""
    try:
        limiter = _workers.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(MAX_PREPARING)
        _workers.set(limiter)
    return await anyio.to_thread.run_sync(work, limiter=limiter)


async def ask(services: Services, project_id: str, **asked: Any) -> Answer:
    """Give the checked answer to a turn; the arguments are those of `prepare`, with documents named."""
    turn = await prepared(services, project_id, **asked)
    turn, completion = await turn.answered()
    message = completion["choices"][0]["message"]
    return conclude(turn, message.get("content") or "", message.get("citations"), message.get("confidence"))


async def prepared(services: Services, project_id: str, **asked: Any) -> Turn:
    """Do `prepare` where it belongs: in a worker thread, but at once where nothing is to be waited for.

    With many requests at once a thread costs several milliseconds, until the interpreter lets it run and come back.
    """
    preparing = partial(prepare, services, project_id, **asked)
    waits = asked.get("file_search") is not None or not services.router.is_at_hand(asked["model"])
    return await in_worker(preparing) if waits else preparing()


def prepare(
    services: Services,
    project_id: str,
    *,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    params: Mapping[str, Any] | None = None,
    file_search: FileSearch | None = None,
    calibrated: bool = True,
) -> Turn:
    """Find the engine and, where documents are named, ground the last question in them.

    Unless `calibrated`, its answers are taken at their word also where the model is.
    """
    route = services.router.resolve(project_id, model)
    given = params or {}
    request = ChatRequest(messages=tuple(messages), params=effective(given, route.engine))
    first = Candidate(route=route, request=request)
    search = file_search or _bound(services, project_id, route.alias)
    if search is not None:
        first = _grounded(services, project_id, first, search)

    def for_another(other: Route) -> ChatRequest:
        if not other.generative and first.request.grounding is None:
            raise BadRequest(f"The {other.engine.name} engine answers from documents only, and none are named.")
        return replace(first.request, params=effective(given, other.engine))

    line = Line(first=first)
    if first.route.model_id == route.model_id:
        line = line_up(services.router, project_id, model, for_another, first)
    if first.request.grounding is None:
        return Turn(line=line, refusal="")
    is_json = (given.get("response_format") or {}).get("type", "text") != "text"
    judges = calibrated and not is_json
    judged_by = partial(confidence_of, services, project_id) if judges else lambda _route: None
    return Turn(
        line=line,
        refusal=refusal(services.templates),
        check=None if is_json else _check(services),
        confidence=judged_by(first.route),
        calibrated=judged_by,
        is_json=is_json,
    )


def conclude(turn: Turn, text: str, citations: Sequence[Citation] | None = None, likely: float | None = None) -> Answer:
    """Check a whole text: an engine that quotes gives its `citations` and how `likely` they answer.

    Those of others are read from the marks.
    """
    if turn.grounding is None:
        return Answer(text=text, citations=(), answered=turn.route.generative)
    if citations is None or turn.route.generative:
        return finish(
            text,
            turn.grounding,
            refusal=turn.refusal,
            check=turn.check,
            confidence=turn.confidence,
            is_json=turn.is_json,
        )
    return replace(concluded(text, citations, turn.grounding, refusal=turn.refusal), confidence=likely)


def _check(services: Services) -> Check | None:
    settings = services.settings
    policy = settings.unsupported or ("keep" if settings.entailment else None)
    if policy is None:
        return None
    judge = Judge(embedder=services.embedder, entailment=services.entailment)
    return Check(judge=judge, policy=Policy(policy))


def _bound(services: Services, project_id: str, alias: AliasSettings | None) -> FileSearch | None:
    """Give the documents that an alias binds, its stores named by name or id."""
    if alias is None or not alias.vector_stores:
        return None
    with services.database.read() as session:
        found = [(name, find_store_by_name(session, project_id, name)) for name in alias.vector_stores]
    missing = [name for name, store in found if store is None]
    if missing:
        raise NotFound(f"The alias names the vector store {missing[0]!r}, which does not exist.", param="model")
    return FileSearch(store_ids=tuple(store.id for _, store in found if store is not None))


def _grounded(
    services: Services, project_id: str, asked: Candidate[ChatRequest], search: FileSearch
) -> Candidate[ChatRequest]:
    route, request = asked.route, asked.request
    alias = route.alias or AliasSettings(model=route.model_id)
    options = search.options or SearchOptions(max_results=alias.max_num_results or services.settings.max_num_results)
    tokenizer = services.embedder.tokenizer
    asking = Asking(
        search=lambda question: services.searching.search(project_id, search.store_ids, question, options),
        templates=services.templates,
        count_tokens=lambda text: len(tokenizer.encode(text, add_special_tokens=False)),
        prompt=alias.prompt,
        context_tokens=services.settings.context_tokens,
        generator=EngineGenerator(route) if route.generative else None,
        between=partial(_between, services, project_id),
        decompose=alias.decompose if search.decompose is None else search.decompose,
    )
    question, conversation = _question(request.messages)
    grounding = ground(question, asking=asking, conversation=conversation)
    request = replace(request, messages=_instructed(request.messages, grounding), grounding=grounding)
    return Candidate(route=_able(services, project_id, route, request), request=request)


def _between(services: Services, project_id: str, passage: Passage, start: int, end: int) -> str:
    """Read what stands between two chunks; nothing where their document has gone meanwhile."""
    with services.database.read() as session:
        outline = find_outline(session, project_id, passage.file_id, chunk_id=passage.chunk_id)
        return "" if outline is None else read_span(session, outline, start, end)


def _able(services: Services, project_id: str, route: Route, request: ChatRequest) -> Route:
    """With nothing found there is nothing to write from: loam refuses by itself, and no model is left to guess."""
    shaped = request.params.keys() & {"tools", "response_format"}
    found = request.grounding is not None and request.grounding.sources
    return route if found or shaped else services.router.resolve(project_id, EXTRACTIVE)


def _question(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[Message]]:
    """Give the last thing the user said, and the turns before it."""
    last = _last_user(messages)
    question = "\n".join(texts_of(messages[last])).strip() if last is not None else ""
    if not question:
        raise BadRequest("There is no question: to search documents, one message must be the user's.", param="messages")
    earlier = [message for message in messages[:last] if message["role"] in ("user", "assistant")]
    return question, [Message(message["role"], "\n".join(texts_of(message))) for message in earlier]


def _last_user(messages: Sequence[Mapping[str, Any]]) -> int | None:
    return max((place for place, message in enumerate(messages) if message["role"] == "user"), default=None)


def _instructed(messages: Sequence[Mapping[str, Any]], grounding: Grounding) -> tuple[Mapping[str, Any], ...]:
    """Put the rendered prompt where its role says: after the caller's system messages, or as the question."""
    if grounding.role == "user":
        last = _last_user(messages)
        return tuple(
            _asking(message, grounding.instructions) if place == last else message
            for place, message in enumerate(messages)
        )
    first = next((place for place, one in enumerate(messages) if one["role"] not in ("system", "developer")), 0)
    instructions = {"role": "system", "content": grounding.instructions}
    return (*messages[:first], instructions, *messages[first:])


def _asking(message: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    content = message["content"]
    others = [part for part in content if part.get("type") != "text"] if isinstance(content, list) else []
    return {**message, "content": [{"type": "text", "text": text}, *others] if others else text}
