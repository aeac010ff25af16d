import numpy as np

from rag.encoders.graph import BATCH_TOKENS, batches_by_length


def test_every_row_is_in_one_batch() -> None:
    lengths = [5, 0, 254, 31, 7, 7, 254, 1] * 9
    batches = batches_by_length([np.zeros(length, dtype=np.int32) for length in lengths])
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))


def test_no_batch_is_larger_than_the_budget() -> None:
    ids = [np.zeros(length, dtype=np.int32) for length in [30] * 100 + [250] * 7]
    batches = batches_by_length(ids)
    assert max(len(batch) * max(len(ids[row]) for row in batch) for batch in batches) <= BATCH_TOKENS


def test_text_longer_than_the_budget_has_a_batch_of_its_own() -> None:
    ids = [np.zeros(length, dtype=np.int32) for length in (3, BATCH_TOKENS + 1, 4)]
    assert batches_by_length(ids) == [[1], [2, 0]]
