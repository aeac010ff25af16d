"""Examples that repeat others, exactly or nearly, in time that grows with the file and not its square.

Exact repetition is found by a hash. For near repetition each text is taken as the set of its pieces
of eight bytes; one-permutation MinHash (Li, Owen and Zhang 2012) gives a signature in which two sets
agree at a place with the probability of their Jaccard similarity, and only texts that agree on a
whole band of places are compared. System messages are left out: a file often has the same in all.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from finetune.types import Example, Retrieval, Turn, Unpaired, sequences

Hashes: TypeAlias = npt.NDArray[np.uint64]

SIMILAR = 0.9
PIECE_BYTES = 8
# Eight bands of eight places: texts of similarity 0.9 meet with probability 0.99, of 0.6 with 0.13.
BANDS, PLACES = 8, 8
_BINS = BANDS * PLACES
_EDGES = np.arange(_BINS, dtype=np.uint64) << np.uint64(64 - (_BINS - 1).bit_length())
_MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(32)
_WEIGHTS = np.random.default_rng(0).integers(1, 2**63, PLACES, dtype=np.uint64) | np.uint64(1)


@dataclass(frozen=True, slots=True)
class Repeat:
    """Example `index` repeats `earlier`, the first like it; similarity 1 is exact."""

    index: int
    earlier: int
    similarity: float


class Repeats:
    """Finds repetition among examples that are added in turn and counted from 0; takes 72 bytes for each."""

    def __init__(self) -> None:
        self._identities = array("Q")
        self._bands = array("Q")

    def add(self, example: Example) -> None:
        self._identities.append(_identity(example))
        self._bands.frombytes(_band_hashes(_pieces(text_of(example))).tobytes())

    def exact(self) -> list[Repeat]:
        """Give the exact repetitions, in the order of what is repeated."""
        pairs = _alike(np.frombuffer(self._identities, dtype=np.uint64))
        return [Repeat(int(index), int(earlier), 1.0) for earlier, index in np.unique(pairs, axis=0)]

    def near(self, example_of: Callable[[int], Example]) -> Iterator[Repeat]:
        """Give the near repetitions, each compared in full with the one it repeats."""
        repeated = {repeat.index for repeat in self.exact()}
        bands = np.frombuffer(self._bands, dtype=np.uint64).reshape(-1, BANDS)
        pairs = np.unique(np.concatenate([_alike(band) for band in bands.T]), axis=0)
        for earlier, index in pairs.tolist():
            if index in repeated:
                continue
            similarity = jaccard(text_of(example_of(earlier)), text_of(example_of(index)))
            if similarity >= SIMILAR:
                repeated.add(index)
                yield Repeat(index, earlier, similarity)


def _alike(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Give the pairs of positions with one hash, int64 [pairs, 2]: each position with the first that has its hash."""
    order = np.argsort(hashes, kind="stable")
    same = np.zeros(len(order), dtype=bool)
    same[1:] = hashes[order][1:] == hashes[order][:-1]
    # Where a run of equal hashes begins, carried on through the run.
    start = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    return np.stack((order[start], order), axis=1)[same]


def text_of(example: Example) -> bytes:
    """Give what is compared: what was said, without system messages, case and spacing.

    Many queries have one passage, so of passages only their hash counts: queries must be alike and all passages equal.
    """
    if isinstance(example, Retrieval):
        passages = hashlib.blake2b(repr(sorted(example.passages)).encode()).hexdigest()
        return f"{' '.join(example.query.lower().split())} {passages}".encode()
    said = " ".join(turn.content for turns in sequences(example) for turn in turns if turn.role != "system")
    calls = " ".join(call.arguments for turns in sequences(example) for turn in turns for call in turn.tool_calls)
    return " ".join(f"{said} {calls}".lower().split()).encode().ljust(PIECE_BYTES)


def jaccard(first: bytes, second: bytes) -> float:
    """Give the share of pieces that two texts have in common."""
    one, other = np.unique(_pieces(first)), np.unique(_pieces(second))
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _identity(example: Example) -> int:
    label = example.label if isinstance(example, Unpaired) else None
    spoken = [[_spoken(turn) for turn in turns] for turns in sequences(example)]
    digest = hashlib.blake2b(repr((spoken, example.tools, label)).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def _spoken(turn: Turn) -> tuple[object, ...]:
    return turn.role, turn.content, turn.trained, [(call.name, call.arguments) for call in turn.tool_calls]


def _pieces(text: bytes) -> Hashes:
    """Give a hash of the bytes at each position and the seven that follow."""
    windows = np.ndarray(len(text) - PIECE_BYTES + 1, dtype="<u8", buffer=text, strides=(1,))
    mixed = windows * _MIX[0]
    mixed ^= mixed >> _MIX[2]
    mixed *= _MIX[1]
    return mixed ^ (mixed >> _MIX[2])


def _band_hashes(pieces: Hashes) -> Hashes:
    """Give one hash for each band of the signature.

    The high bits of a hash choose its place, and the least hash at a place stands there. In sorted
    order that is the first at or after the place's edge, so an empty place borrows from the next.
    """
    ordered = np.sort(pieces)
    least = ordered[np.searchsorted(ordered, _EDGES) % len(ordered)]
    bands: Hashes = (least.reshape(BANDS, PLACES) * _WEIGHTS).sum(axis=1, dtype=np.uint64)
    return bands
