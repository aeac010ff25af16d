"""One choice of a request as it is written: from the prompt's tokens to text, told as it comes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from services.engines.local.cache import Row
from services.engines.local.guide import Guide
from services.engines.local.logprobs import Place, places
from services.engines.local.sampling import Chooser, settled
from services.engines.local.speaker import Speaker
from services.engines.local.text import Detokenizer, Piece, Token, Writing
from services.engines.local.wanted import Asked
from services.errors import BadRequest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

DEFAULT_TOKENS = 4096
"""The longest answer of a model that does not say how long its context is."""

LOOK_BACK = 16
NONE: Final[frozenset[int]] = frozenset()

FinishReason: TypeAlias = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A prompt has been read, but for its first `cached` tokens, which others had read before; `number` says which."""

    number: int
    prompt: Sequence[int]
    cached: int
    places: Sequence[Place] | None
    tokenizer: "PreTrainedTokenizerBase"
    guide: Guide | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A piece of a choice's text; with `finish_reason` its last, `tokens` being all it took to write the choice."""

    choice: int
    piece: Piece
    finish_reason: FinishReason | None = None
    tokens: int = 0


Event: TypeAlias = Begun | Written


class Choice:
    """A sequence of tokens: those of the prompt, then those chosen. It is `finished` once its last event was given."""

    def __init__(self, speaker: Speaker, asked: Asked, prompt: Sequence[int], *, room: int, index: int) -> None:
        # Where a message is gone on with, whether a word begins with a space is for what stands before it to say.
        before = prompt[-LOOK_BACK:] if asked.continue_final_message else ()
        self.speaker = speaker
        self.index = index
        self.asked = asked
        self.tokens = list(prompt)
        self.row: Row | None = None
        self.cached = 0
        self.chooser: Chooser | None = None
        self.finished = False
        self._prompt_tokens = len(prompt)
        self._room = room
        guide = asked.guide
        self.constraint = guide.constraint(speaker.ends) if guide else None
        self._writing = Writing(Detokenizer(speaker.tokenizer, before, guide.shown if guide else NONE), asked.stops)
        self._places: list[Place] = []

    @property
    def number(self) -> int:
        """Which of the request's prompts it goes on from."""
        return self.index // self.asked.n

    @property
    def is_first(self) -> bool:
        """Whether it reads its prompt for the others."""
        return self.index % self.asked.n == 0

    @property
    def wants_places(self) -> bool:
        """Whether the prompt's own logprobs are told, for which all of it is to be read."""
        return self.asked.prompt_logprobs is not None and self.is_first

    @property
    def is_reading(self) -> bool:
        return len(self.tokens) == self._prompt_tokens

    def sit(self, row: Row) -> None:
        """Take a row, of whose tokens the prompt begins with those that are there."""
        self.row, self.cached = row, len(row.tokens)

    def unread(self, most: int) -> list[int]:
        """Give the next tokens that the model has not read."""
        read = 0 if self.row is None else len(self.row.tokens)
        return self.tokens[read : read + most]

    def see(self, logits: "torch.Tensor", read: int) -> None:
        """Take what the model says of the `read` tokens it has just read, or of the last one. Raises BadRequest."""
        assert self.row is not None, "a choice is read in its row"
        if self.wants_places and self.is_reading:
            end = len(self.row.tokens) + 1
            to_come = self.tokens[end - read : end]
            self._places += places(logits[: len(to_come)], to_come, self.asked.prompt_logprobs or 0)
        if self.chooser is None:
            sampling = settled(self.asked.sampling, self.speaker.generation_config)
            self.chooser = Chooser(sampling, prompt=self.tokens, like=logits[-1], choice=self.index % self.asked.n)

    @property
    def sampling(self) -> Chooser:
        assert self.chooser is not None, "nothing is chosen before the model has been seen"
        return self.chooser

    def allowed(self) -> "torch.Tensor | None":
        """Give which tokens may come next, a bit each, int32 [words]; None if all may. Raises BadRequest."""
        return None if self.constraint is None else self.constraint.allowed()

    def scores(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Give by what scores the next token is chosen."""
        for processor in self.sampling.processors:
            logits = processor.process(logits)
        return logits

    def begun(self) -> Begun:
        prompt = self.tokens[: self._prompt_tokens]
        found = self._places if self.wants_places else None
        return Begun(
            number=self.number,
            prompt=prompt,
            cached=self.cached,
            places=found,
            tokenizer=self.speaker.tokenizer,
            guide=self.asked.guide,
        )

    def take(self, token: Token) -> Written | None:
        """Go on by a token; give what is settled by it, if anything is."""
        self.tokens.append(token.id)
        for processor in self.sampling.processors:
            processor.accept(token.id)
        if self.constraint is not None:
            self.constraint.accept(token.id)
        written = len(self.tokens) - self._prompt_tokens
        if token.id in self.speaker.ends:
            return self._last(Piece(), [token], "stop", written)
        piece = self._writing.feed(token)
        is_over = self._writing.stopped or (self.constraint is not None and self.constraint.is_over)
        if is_over or written == self._room:
            return self._last(piece, [], "stop" if is_over else "length", written)
        return Written(choice=self.index, piece=piece) if piece.text else None

    def _last(self, piece: Piece, unseen: Sequence[Token], reason: FinishReason, written: int) -> Written:
        rest = self._writing.finish(*unseen)
        whole = Piece(text=piece.text + rest.text, tokens=[*piece.tokens, *rest.tokens], unseen=rest.unseen)
        self.finished = True
        # The end of the text may be where a stop sequence shows itself.
        ended: FinishReason = "stop" if self._writing.stopped else reason
        return Written(choice=self.index, piece=whole, finish_reason=ended, tokens=written)


def room_for(prompt: Sequence[int], asked: Asked, speaker: Speaker) -> int:
    """Give how many tokens may be generated: as many as were asked for, else what the context has room for."""
    limit, max_tokens = speaker.context_tokens, asked.max_tokens
    most: int | None = max_tokens or speaker.generation_config.max_new_tokens
    if limit is None:
        return most or DEFAULT_TOKENS
    if len(prompt) >= limit or (max_tokens is not None and len(prompt) + max_tokens > limit):
        wanted = f" and {max_tokens:,} in the answer" if max_tokens is not None else ""
        raise BadRequest(
            f"This model's maximum context length is {limit:,} tokens. However, you asked for {len(prompt):,} in the "
            f"{asked.place}{wanted}. Shorten the {asked.place} or ask for a shorter answer.",
            param=asked.place,
            code="context_length_exceeded",
        )
    return min(most or limit, limit - len(prompt))
