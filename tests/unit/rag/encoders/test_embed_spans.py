import numpy as np
import pytest

from rag.encoders.embed_openvino import with_spans
from rag.sentences import Span

WHOLE = np.array([[1.0, 0.0]], dtype=np.float32)
TOKENS = np.array([[9, 9], [0, 2], [0, 4], [3, 0], [9, 9]], dtype=np.float32)
OFFSETS = np.array([[0, 0], [0, 2], [2, 5], [6, 9], [0, 0]], dtype=np.int32)


def test_a_span_is_the_mean_of_its_tokens_special_ones_left_out() -> None:
    vectors = with_spans(WHOLE, TOKENS, OFFSETS, [Span(0, 5), Span(6, 9), Span(2, 9)])
    assert vectors == pytest.approx(np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]]))


def test_a_span_of_which_nothing_was_read_has_the_vector_of_the_whole() -> None:
    assert with_spans(WHOLE, TOKENS, OFFSETS, [Span(40, 50)])[1].tolist() == [1, 0]


def test_a_text_without_spans_has_its_own_vector_alone() -> None:
    assert with_spans(WHOLE, TOKENS, OFFSETS, []).tolist() == [[1, 0]]
