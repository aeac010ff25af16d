"""Pairs of texts cut to what a cross-encoder reads at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Pair: TypeAlias = tuple[str, str]

Side: TypeAlias = Literal[0, 1]
"""Which text of a pair is read to its end, in windows; of the other one at most half of a window is."""

OVERLAP = 4
"""A window begins a quarter of its text before the end of the one before it."""


@dataclass(frozen=True, slots=True)
class PairWindow:
    """Two tokenised texts that the model reads together, without special tokens; `pair` is the number of theirs."""

    pair: int
    texts: "tuple[Encoding, Encoding]"


def pair_windows(pairs: Sequence[Pair], tokenizer: "Tokenizer", *, limit: int, long: Side) -> list[PairWindow]:
    """Cut the pairs into windows of at most `limit` tokens with the special ones, at least one each, in order."""
    room = limit - tokenizer.num_special_tokens_to_add(True)
    short = _encoded(list(dict.fromkeys(pair[1 - long] for pair in pairs)), tokenizer)
    whole = tokenizer.encode_batch([pair[long] for pair in pairs], add_special_tokens=False)
    for encoding in short.values():
        encoding.truncate(room // 2)
    windows = []
    for number, (pair, text) in enumerate(zip(pairs, whole, strict=True)):
        beside = short[pair[1 - long]]
        for part in _cut(text, room - len(beside)):
            windows.append(PairWindow(number, (beside, part) if long else (part, beside)))
    return windows


def _encoded(texts: list[str], tokenizer: "Tokenizer") -> "dict[str, Encoding]":
    return dict(zip(texts, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True))


def _cut(text: "Encoding", size: int) -> "Iterator[Encoding]":
    text.truncate(size, stride=size // OVERLAP)
    yield text
    yield from text.overflowing
