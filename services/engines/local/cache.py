"""The keys and values of what a base has read: a row for each sequence, of which those free keep what they hold.

Rows of like capacity stand together on a shelf, densely, so that attention runs over many of them at once. A row that
grows moves to the shelf of twice the capacity. Memory is taken as rows come and given back as they go: a row never
holds more than twice its longest length, and a shelf never more than twice its rows.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

LEAST_CAPACITY = 128
"""Tokens in the smallest row."""

LEAST_SHARED = 16
"""A beginning that is shorter is read again rather than looked for."""

Layer: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""Keys and values, each [rows, capacity, heads, dimensions]."""


class Row:
    """One sequence's place. `tokens` are those whose keys and values it holds, as `owner`'s weights made them."""

    def __init__(self, owner: int, used: int) -> None:
        self.owner = owner
        self.used = used
        self.busy = True
        self.tokens: list[int] = []
        self.shelf: Shelf | None = None
        self.index = 0


class Shelf:
    """Rows of one capacity. Its first rows, as many as there are, are all in use or kept."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows: list[Row] = []
        self._layers: dict[int, Layer] = {}
        self._room = 0

    @property
    def size_bytes(self) -> int:
        return sum(part.nbytes for layer in self._layers.values() for part in layer)

    def layer(self, index: int, key: "torch.Tensor", value: "torch.Tensor") -> Layer:
        """Give a layer's keys and values, made for such as these ([1, heads, n, dimensions]) if it has none yet."""
        found = self._layers.get(index)
        if found is None:
            made = [part.new_zeros(self._room, self.capacity, part.shape[1], part.shape[3]) for part in (key, value)]
            found = self._layers[index] = (made[0], made[1])
        return found

    def add(self, row: Row) -> None:
        """Put a row here, with what it holds on the shelf it comes from."""
        if len(self.rows) == self._room:
            self._resize(max(1, 2 * self._room))
        before, place, length = row.shelf, row.index, len(row.tokens)
        row.shelf, row.index = self, len(self.rows)
        self.rows.append(row)
        if before is not None:
            self._copy(before, place, row.index, length)
            before.remove(place)

    def copy(self, source: Row, target: Row, length: int) -> None:
        """Copy the beginning of any row to one of this shelf."""
        assert source.shelf is not None, "only rows with a place hold anything"
        self._copy(source.shelf, source.index, target.index, length)

    def remove(self, index: int) -> None:
        """Take a row away; the last one comes in its place."""
        last = self.rows.pop()
        if index < len(self.rows):
            self._copy(self, len(self.rows), index, len(last.tokens))
            self.rows[index], last.index = last, index
        if not self.rows:
            self._layers.clear()
            self._room = 0
        elif 2 * len(self.rows) <= self._room:
            self._resize(self._room // 2)

    def _copy(self, source: "Shelf", taken: int, put: int, length: int) -> None:
        for index, layer in source._layers.items():
            known = self._layers.get(index)
            if known is None:
                made = [part.new_zeros(self._room, self.capacity, *part.shape[2:]) for part in layer]
                known = self._layers[index] = (made[0], made[1])
            for theirs, ours in zip(layer, known, strict=True):
                ours[put, :length] = theirs[taken, :length]

    def _resize(self, room: int) -> None:
        for index, layer in self._layers.items():
            # Zeros, since what is masked out is read all the same, and must be a number.
            resized = [part.new_zeros(room, *part.shape[1:]) for part in layer]
            for old, new in zip(layer, resized, strict=True):
                new[: len(self.rows)] = old[: len(self.rows)]
            self._layers[index] = (resized[0], resized[1])
        self._room = room


class Rows:
    """All rows of a base, at most `most`; those that are free keep their tokens for whoever begins alike."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: list[Row] = []
        self._shelves: dict[int, Shelf] = {}
        self._clock = count()

    @property
    def busy(self) -> int:
        return sum(row.busy for row in self._rows)

    @property
    def size_bytes(self) -> int:
        return sum(shelf.size_bytes for shelf in self._shelves.values())

    def take(self, prompt: Sequence[int], owner: int, *, share: bool = True) -> Row:
        """Give a row for a prompt, of which it may hold the beginning, but never the whole.

        The tokens it holds are what need not be read again. At most as many rows may be busy as there are.
        """
        source, shared = self._alike(prompt, owner) if share else (None, 0)
        if source is not None and not source.busy:
            del source.tokens[shared:]
            source.busy, source.used = True, next(self._clock)
            return source
        if len(self._rows) >= self._most:
            self._drop(self._oldest())
        row = Row(owner, next(self._clock))
        self._rows.append(row)
        self.reserve(row, len(prompt))
        if source is not None and row.shelf is not None:
            row.shelf.copy(source, row, shared)
            row.tokens = list(prompt[:shared])
        return row

    def reserve(self, row: Row, length: int) -> None:
        """See to it that a row has room for so many tokens."""
        if row.shelf is not None and row.shelf.capacity >= length:
            return
        capacity = LEAST_CAPACITY
        while capacity < length:
            capacity *= 2
        shelf = self._shelves.setdefault(capacity, Shelf(capacity))
        shelf.add(row)

    def free(self, row: Row) -> None:
        """Let a row be taken by others; until then it keeps what it holds."""
        row.busy, row.used = False, next(self._clock)

    def trim(self, size_bytes: int) -> None:
        """Let free rows go, those longest free first, until the rest takes no more than this."""
        while self.size_bytes > size_bytes and any(not row.busy for row in self._rows):
            self._drop(self._oldest())

    def clear(self) -> None:
        """Let everything go, as after a failure that leaves no row to be trusted."""
        self._rows.clear()
        self._shelves.clear()

    def _oldest(self) -> Row:
        return min((row for row in self._rows if not row.busy), key=lambda row: row.used)

    def _drop(self, row: Row) -> None:
        self._rows.remove(row)
        if row.shelf is not None:
            row.shelf.remove(row.index)

    def _alike(self, prompt: Sequence[int], owner: int) -> tuple[Row | None, int]:
        """Find the row that shares the longest beginning; of equals one that is free."""
        most = len(prompt) - 1
        found = [(_shared(row.tokens, prompt, most), not row.busy, row) for row in self._rows if row.owner == owner]
        shared, _, row = max(found, key=lambda one: one[:2], default=(0, False, None))
        return (row, shared) if shared >= LEAST_SHARED else (None, 0)


def _shared(held: Sequence[int], prompt: Sequence[int], most: int) -> int:
    """Count the tokens at the beginning that are the same, at most so many."""
    if held[:LEAST_SHARED] != prompt[:LEAST_SHARED]:
        return 0
    return min(most, next(_differences(held, prompt), min(len(held), len(prompt))))


def _differences(held: Sequence[int], prompt: Sequence[int]) -> Iterator[int]:
    return (place for place, (one, other) in enumerate(zip(held, prompt, strict=False)) if one != other)
