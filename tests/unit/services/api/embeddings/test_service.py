import base64

import numpy as np

from services.api.embeddings.service import encoded, shortened


def test_shortened_vectors_have_length_one() -> None:
    vectors = np.array([[0.6, 0.0, 0.8], [0.0, 0.0, 1.0]], dtype=np.float32)

    np.testing.assert_allclose(shortened(vectors, 2), [[1, 0], [0, 0]])
    assert shortened(vectors, 3) is vectors


def test_base64_is_of_little_endian_float32() -> None:
    vector = np.array([1.0, -0.5], dtype=np.float32)

    assert base64.b64decode(str(encoded(vector, "base64"))) == b"\x00\x00\x80\x3f\x00\x00\x00\xbf"
    assert encoded(vector, "float") == [1.0, -0.5]
