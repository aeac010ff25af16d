"""The engine that needs nothing: it answers by quoting the sources, and says so when they do not answer.

It writes its own citations: a grounded message, or the last delta of its stream, carries them under
`citations` as `rag.types.Citation`, for the caller to check and to put in the wire's form, and under
`confidence` how likely they answer. Tokens are those of the embedder's tokenizer.
"""

import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio.to_thread

from prompts import Templates
from rag.answer import refusal
from rag.cite import quote
from rag.extract import extract
from rag.ports import Embedder
from rag.types import Citation, Grounding
from services.engines.engine import ChatRequest
from services.engines.parameters import HARMLESS, SAMPLING
from services.errors import BadRequest

NO_DOCUMENTS = (
    "I answer from documents only, and none were named. Name them by 'file_search': {'vector_store_ids': [...]} in "
    "the body of a chat completion, by the tool file_search in a response, or by an alias as the model."
)

_PIECE = re.compile(r"\s*\S+\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    text: str
    own: Mapping[str, Any]
    finish_reason: str
    copies: int
    usage: Mapping[str, int]


class Extractive:
    """Quotes what the embedder finds to answer, or gives the sentence that refuses."""

    name = "extractive"
    supports = HARMLESS | SAMPLING | {"max_completion_tokens", "max_tokens", "n", "stop", "stream_options"}

    def __init__(self, embedder: Callable[[], Embedder], templates: Templates) -> None:
        self._embedder = embedder
        self._templates = templates

    async def chat(self, request: ChatRequest) -> dict[str, Any]:
        answer = await anyio.to_thread.run_sync(self._answer, request)
        choices = [
            {"index": index, "message": _message(answer), "logprobs": None, "finish_reason": answer.finish_reason}
            for index in range(answer.copies)
        ]
        return {
            "object": "chat.completion",
            "created": int(time.time()),
            "choices": choices,
            "usage": dict(answer.usage),
        }

    async def stream(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        answer = await anyio.to_thread.run_sync(self._answer, request)
        with_usage = bool((request.params.get("stream_options") or {}).get("include_usage"))
        head = {"object": "chat.completion.chunk", "created": int(time.time())}
        if with_usage:
            head["usage"] = None
        for index in range(answer.copies):
            for delta, finish_reason in _deltas(answer):
                choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
                yield {**head, "choices": [choice]}
        if with_usage:
            yield {**head, "choices": [], "usage": dict(answer.usage)}

    def count_tokens(self, messages: Sequence[Mapping[str, Any]]) -> int:
        texts = [text for message in messages for text in texts_of(message)]
        encoded = self._embedder().tokenizer.encode_batch(texts, add_special_tokens=False)
        return sum(len(encoding) for encoding in encoded)

    def _answer(self, request: ChatRequest) -> _Answer:
        _check_texts(request.messages)
        text, own = self._written(request.grounding) if request.grounding else (NO_DOCUMENTS, {})
        params = request.params
        text = before_stop(text, params.get("stop"))
        limit = params.get("max_completion_tokens") or params.get("max_tokens")
        tokens = self._embedder().tokenizer.encode(text, add_special_tokens=False)
        finish_reason = "stop"
        if limit is not None and len(tokens) > limit:
            text, finish_reason = text[: tokens.offsets[limit - 1][1]], "length"
        copies = params.get("n") or 1
        return _Answer(
            text=text,
            own=own,
            finish_reason=finish_reason,
            copies=copies,
            usage=self._usage(request.messages, copies * min(len(tokens), limit or len(tokens))),
        )

    def _written(self, grounding: Grounding) -> tuple[str, dict[str, Any]]:
        """Give the text, and what the message says beside it."""
        found = extract(grounding.question, grounding.sources, self._embedder())
        citations: tuple[Citation, ...]
        text, citations = quote(found.quotes) if found.answered else (refusal(self._templates), ())
        return text, {"citations": citations, "confidence": found.probability}

    def _usage(self, messages: Sequence[Mapping[str, Any]], completion_tokens: int) -> dict[str, int]:
        prompt_tokens = self.count_tokens(messages)
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """Give the texts of a message, whether its content is a string or parts."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or () if part.get("type") == "text"]


def before_stop(text: str, stop: str | Sequence[str] | None) -> str:
    """Cut a text before the first stop sequence that it holds."""
    sequences = [stop] if isinstance(stop, str) else stop or ()
    found = [text.find(sequence) for sequence in sequences if sequence and sequence in text]
    return text[: min(found)] if found else text


def _check_texts(messages: Iterable[Mapping[str, Any]]) -> None:
    for position, message in enumerate(messages):
        content = message.get("content")
        kinds = {part.get("type") for part in content} if isinstance(content, list) else set()
        if message["role"] == "user" and kinds - {"text"}:
            other = sorted(kinds - {"text"})[0]
            raise BadRequest(
                f"The extractive engine reads text only, not {other!r}.",
                param=f"messages[{position}].content",
                code="unsupported_content",
            )


def _message(answer: _Answer) -> dict[str, Any]:
    return {"role": "assistant", "content": answer.text, "refusal": None, **answer.own}


def _deltas(answer: _Answer) -> Iterable[tuple[dict[str, Any], str | None]]:
    """Give the deltas of a stream, word by word, and with the last the reason why it ends."""
    yield {"role": "assistant", "content": "", "refusal": None}, None
    *pieces, last = _PIECE.findall(answer.text) or [answer.text]
    for piece in pieces:
        yield {"content": piece}, None
    yield {"content": last, **answer.own}, answer.finish_reason
