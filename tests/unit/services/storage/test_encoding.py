import numpy as np

from services.storage.encoding import checksum, decode_sentences, decode_vector, encode_sentences, encode_vector


def unit_rows(count: int, dimensions: int = 384) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(count, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_vector_comes_back_as_it_was() -> None:
    vector = unit_rows(1)[0]
    assert (decode_vector(encode_vector(vector)) == vector).all()


def test_sentences_come_back_with_their_directions_and_length_1() -> None:
    rows = unit_rows(20)
    back = decode_sentences(encode_sentences(rows), 384)
    assert (back * rows).sum(axis=1).min() > 0.999
    assert np.allclose(np.linalg.norm(back, axis=1), 1, atol=1e-5)


def test_no_sentences_and_none_made_yet_are_read_alike() -> None:
    assert encode_sentences(np.empty((0, 384), dtype=np.float32)) == b""
    assert decode_sentences(b"", 384).shape == decode_sentences(None, 384).shape == (0, 384)


def test_a_flipped_byte_of_either_changes_the_checksum() -> None:
    written = checksum(b"vector", b"sentences")
    assert len({written, checksum(b"wector", b"sentences"), checksum(b"vector", b"tentences")}) == 3
    assert checksum(b"vector", None) == checksum(b"vector", b"")
