"""Rows of keys and values: shared beginnings, growth, and memory that follows what is used."""

import pytest
import torch

from services.engines.local.cache import LEAST_CAPACITY, Row, Rows

PROMPT = list(range(100, 140))
ROW_BYTES = 2 * LEAST_CAPACITY * 2 * 4 * 4
"""Keys and values of a row of the least capacity, of two heads of four float32."""


@pytest.fixture
def rows() -> Rows:
    return Rows(4)


def write(rows: Rows, row: Row, tokens: list[int]) -> None:
    """Write each token's number as its keys and values."""
    rows.reserve(row, len(row.tokens) + len(tokens))
    assert row.shelf is not None
    given = torch.tensor(tokens, dtype=torch.float32).view(1, 1, -1, 1).expand(1, 2, -1, 4)
    for part, new in zip(row.shelf.layer(0, given, given), (given, given), strict=True):
        part[row.index, len(row.tokens) : len(row.tokens) + len(tokens)] = new[0].transpose(0, 1)
    row.tokens += tokens


def held(row: Row) -> list[int]:
    assert row.shelf is not None
    like = torch.zeros(1, 2, 1, 4)
    keys, values = row.shelf.layer(0, like, like)
    assert torch.equal(keys, values)
    return [int(number) for number in keys[row.index, : len(row.tokens), 1, 3]]


def test_a_free_row_is_taken_up_where_it_agrees(rows: Rows) -> None:
    first = rows.take(PROMPT, 0)
    write(rows, first, [*PROMPT, 7, 8])
    rows.free(first)
    again = rows.take([*PROMPT[:30], 1, 2], 0)

    assert (again is first, again.tokens, held(again)) == (True, PROMPT[:30], PROMPT[:30])


def test_a_busy_row_is_copied(rows: Rows) -> None:
    first = rows.take(PROMPT, 0)
    write(rows, first, PROMPT)
    second = rows.take(PROMPT, 0)

    assert (second is first, held(second)) == (False, PROMPT[:-1])
    write(rows, second, [5])
    assert (held(first), held(second)) == (PROMPT, [*PROMPT[:-1], 5])


@pytest.mark.parametrize(("prompt", "owner"), [(PROMPT, 1), (PROMPT[:10], 0), ([0, *PROMPT], 0)])
def test_what_differs_is_not_shared(rows: Rows, prompt: list[int], owner: int) -> None:
    row = rows.take(PROMPT, 0)
    write(rows, row, PROMPT)

    assert rows.take(prompt, owner).tokens == []


def test_rows_keep_what_they_hold_as_they_grow_and_go(rows: Rows) -> None:
    taken = [rows.take([number] * 20, number) for number in range(4)]
    for number, row in enumerate(taken):
        write(rows, row, [number] * 20)
    for number in (1, 3):
        write(rows, taken[number], [number] * (LEAST_CAPACITY * number))
    rows.free(taken[0])
    rows.trim(0)

    assert [held(row) for row in taken[1:]] == [[1] * (20 + LEAST_CAPACITY), [2] * 20, [3] * (20 + 3 * LEAST_CAPACITY)]


def test_the_row_longest_free_makes_room(rows: Rows) -> None:
    taken = [rows.take([number] * 20, 0) for number in range(4)]
    for number, row in enumerate(taken):
        write(rows, row, [number] * 20)
    for place in (2, 0, 1, 3):
        rows.free(taken[place])
    rows.take([9] * 20, 0)

    assert [bool(rows.take([number] * 20, 0).tokens) for number in (0, 1, 3)] == [True] * 3


def test_memory_follows_what_is_used(rows: Rows) -> None:
    sizes = []
    taken = []
    for number in range(4):
        taken.append(rows.take([number] * 20, 0))
        write(rows, taken[-1], [number] * 20)
        sizes.append(rows.size_bytes // ROW_BYTES)
    for row in taken:
        rows.free(row)
    rows.trim(ROW_BYTES)

    assert (sizes, rows.size_bytes) == ([1, 2, 4, 4], ROW_BYTES)
    rows.trim(0)
    assert (rows.size_bytes, rows.busy) == (0, 0)
