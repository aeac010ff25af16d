"""Text out of tokens as they come: whole characters only, and nothing of a stop sequence."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNFINISHED = "\ufffd"
"""What decoders put where a character's bytes are not all there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that was generated; `top` are the likeliest in its place with their logprobs, the best first."""

    id: int
    logprob: float | None = None
    top: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Text that is settled, the tokens that begin in it, and those of which nothing is seen, as of a stop sequence."""

    text: str = ""
    tokens: Sequence[Token] = ()
    unseen: Sequence[Token] = ()


class Detokenizer:
    """Decodes in a window that begins at a whole character, so that a token costs the same wherever it stands."""

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", before: Sequence[int] = (), shown: frozenset[int] = frozenset()
    ) -> None:
        """`before` are the tokens that the text goes on from, where a space may depend on them.

        Special tokens are no part of the text but for those `shown`.
        """
        self._tokenizer = tokenizer
        self._shown = shown
        self._ids = list(before)
        self._start, self._read = 0, len(self._ids)

    def feed(self, token_id: int) -> str:
        """Give the characters that a token completes, if any."""
        if token_id in self._shown:
            rest = self.finish()
            self._start = self._read = len(self._ids)
            return rest + str(self._tokenizer.convert_ids_to_tokens(token_id))
        self._ids.append(token_id)
        text = self._new()
        if not text or text.endswith(UNFINISHED):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return text

    def finish(self) -> str:
        """Give what is left but a character that will never be whole."""
        return self._new().rstrip(UNFINISHED)

    def _new(self) -> str:
        known = self._decoded(self._ids[self._start : self._read])
        return self._decoded(self._ids[self._start :])[len(known) :]

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


@dataclass(slots=True)
class Writing:
    """One choice as it is written. Once `stopped`, a stop sequence has come and nothing more is to be fed."""

    detokenizer: Detokenizer
    stops: Sequence[str]
    stopped: bool = False
    _held: str = ""
    _sent: int = 0
    _length: int = 0
    _waiting: list[tuple[int, Token]] = field(default_factory=list)

    def feed(self, token: Token) -> Piece:
        """Take a token; give what is settled by it."""
        self._waiting.append((self._length, token))
        return self._settled(self.detokenizer.feed(token.id))

    def finish(self, *unseen: Token) -> Piece:
        """Give the rest, with tokens that end the answer and are no part of its text."""
        if self.stopped:
            return Piece(unseen=[*self._taken(None), *unseen])
        last = self._settled(self.detokenizer.finish())
        text = "" if self.stopped else self._held
        tokens = [*last.tokens, *([] if self.stopped else self._taken(None))]
        return Piece(text=last.text + text, tokens=tokens, unseen=[*self._taken(None), *unseen])

    def _settled(self, text: str) -> Piece:
        self._length += len(text)
        self._held += text
        cut = min((place for stop in self.stops if (place := self._held.find(stop)) >= 0), default=None)
        self.stopped = cut is not None
        ready = self._held[: len(self._held) - self._open()] if cut is None else self._held[:cut]
        self._held = self._held[len(ready) :]
        self._sent += len(ready)
        return Piece(text=ready, tokens=self._taken(self._sent))

    def _open(self) -> int:
        """How many characters at the end may be the beginning of a stop sequence."""
        lengths = (
            length for stop in self.stops for length in range(1, len(stop)) if self._held.endswith(stop[:length])
        )
        return max(lengths, default=0)

    def _taken(self, before: int | None) -> list[Token]:
        """Take the waiting tokens that begin before a place in the text; all of them for None."""
        count = sum(1 for start, _ in self._waiting if before is None or start < before)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return [token for _, token in taken]


def bytes_of(tokenizer: "PreTrainedTokenizerBase", token_id: int) -> bytes:
    """Give the bytes that a token stands for, which need not be whole characters."""
    piece = tokenizer.convert_ids_to_tokens(token_id)
    if piece is None:  # many models have more places for tokens than tokens
        return b""
    if token_id in tokenizer.added_tokens_decoder:
        return str(piece).encode()
    if "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder):
        known = _bytes_by_letter()
        return bytes(known[letter] for letter in piece) if known.keys() >= set(piece) else str(piece).encode()
    if len(piece) == len("<0x0A>") and piece.startswith("<0x"):
        return bytes.fromhex(piece[3:5])
    return str(piece).replace("\u2581", " ").encode()


@cache
def _bytes_by_letter() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes as."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {letter: byte for byte, letter in bytes_to_unicode().items()}
