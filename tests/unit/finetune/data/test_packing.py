from hypothesis import given
from hypothesis import strategies as st

from finetune.data.packing import packed_rows


def test_the_fullest_row_that_fits_takes_a_sequence() -> None:
    assert packed_rows([6, 5, 4, 3, 2], limit=10) == [10, 10]


def test_a_sequence_is_never_cut_or_joined_over_the_limit() -> None:
    assert packed_rows([6, 6, 6], limit=10) == [6, 6, 6]


def test_nothing_makes_no_row() -> None:
    assert packed_rows([], limit=10) == []


@given(st.lists(st.integers(1, 20), max_size=50))
def test_rows_hold_all_tokens_and_no_two_could_be_one(lengths: list[int]) -> None:
    rows = packed_rows(lengths, limit=20)
    assert sum(rows) == sum(lengths)
    assert all(row <= 20 for row in rows)
    assert all(one + other > 20 for index, one in enumerate(rows) for other in rows[:index])
