"""One request in the thread that runs its base: prompt, tokens, text, told as they come."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias

from services.engines.local.decode import Place, Prefilled, prefill, tokens_after
from services.engines.local.loaded import Speaker
from services.engines.local.prompt import prompt_of
from services.engines.local.sampling import Chooser, settled
from services.engines.local.text import Detokenizer, Piece, Token, Writing
from services.engines.local.wanted import Asked
from services.errors import BadRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_TOKENS = 4096
"""The longest answer of a model that does not say how long its context is."""

LOOK_BACK = 16

FinishReason: TypeAlias = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The prompt has been read."""

    prompt: Sequence[int]
    places: Sequence[Place] | None
    tokenizer: "PreTrainedTokenizerBase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A piece of a choice's text; with `finish_reason` its last, `tokens` being all it took to write the choice."""

    choice: int
    piece: Piece
    finish_reason: FinishReason | None = None
    tokens: int = 0


Event: TypeAlias = Begun | Written


def generate(speaker: Speaker, asked: Asked, is_unwanted: Callable[[], bool]) -> Iterator[Event]:
    """Answer a request, one choice after the other; it ends early once nobody wants it. Raises BadRequest.

    To be run in torch's inference mode.
    """
    prompt = prompt_of(asked, speaker.tokenizer)
    room = _room(prompt, asked.max_tokens, speaker)
    prefilled = prefill(speaker.model, prompt, top=asked.prompt_logprobs)
    yield Begun(prompt=prompt, places=prefilled.places, tokenizer=speaker.tokenizer)
    for choice in range(asked.n):
        yield from _choice(speaker, asked, prefilled, room, choice, is_unwanted)


def _choice(
    speaker: Speaker, asked: Asked, prefilled: Prefilled, room: int, choice: int, is_unwanted: Callable[[], bool]
) -> Iterator[Event]:
    # Where a message is gone on with, whether a word begins with a space is for what stands before it to say.
    before = prefilled.prompt[-LOOK_BACK:] if asked.continue_final_message else ()
    writing = Writing(Detokenizer(speaker.tokenizer, before), asked.stops)
    tokens: list[Token] = []
    end: tuple[Token, ...] = ()
    for token in islice(_tokens(speaker, asked, prefilled, choice), room):
        if is_unwanted():
            return
        tokens.append(token)
        if token.id in speaker.ends:
            end = (token,)
            break
        piece = writing.feed(token)
        if piece.text:
            yield Written(choice=choice, piece=piece)
        if writing.stopped:
            break
    last = writing.finish(*end)
    finish_reason: FinishReason = "stop" if end or writing.stopped else "length"
    yield Written(choice=choice, piece=last, finish_reason=finish_reason, tokens=len(tokens))


def _tokens(speaker: Speaker, asked: Asked, prefilled: Prefilled, choice: int) -> Iterator[Token]:
    model = speaker.model
    sampling = settled(asked.sampling, model.generation_config)
    vocabulary = prefilled.logits.shape[-1]
    if any(token >= vocabulary for token in sampling.logit_bias or ()):
        raise BadRequest(f"logit_bias names tokens beyond the model's {vocabulary:,}.", param="logit_bias")
    chooser = Chooser(sampling, prompt_tokens=len(prefilled.prompt), device=model.device, choice=choice)
    keep_cache = choice + 1 < asked.n
    return tokens_after(model, prefilled, chooser.choose, top=asked.top_logprobs, keep_cache=keep_cache)


def _room(prompt: Sequence[int], max_tokens: int | None, speaker: Speaker) -> int:
    """Give how many tokens may be generated: as many as were asked for, else what the context has room for."""
    limit = speaker.context_tokens
    most = max_tokens or speaker.model.generation_config.max_new_tokens
    if limit is None:
        return most or DEFAULT_TOKENS
    if len(prompt) >= limit or (max_tokens is not None and len(prompt) + max_tokens > limit):
        wanted = f" and {max_tokens:,} in the answer" if max_tokens is not None else ""
        raise BadRequest(
            f"This model's maximum context length is {limit:,} tokens. However, you asked for {len(prompt):,} in the "
            f"messages{wanted}. Shorten the messages or ask for a shorter answer.",
            param="messages",
            code="context_length_exceeded",
        )
    return min(most or limit, limit - len(prompt))
