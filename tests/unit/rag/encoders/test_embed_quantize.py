import numpy as np
import pytest

from rag.encoders.embed_export import GOLDEN_TEXTS
from rag.encoders.embed_quantize import CALIBRATION, Range, int8_rows, smoothing, uint8_range

SEEN = Range(least=np.array([-1.0, -0.2, 0.0], np.float32), most=np.array([2.0, 20.0, 0.0], np.float32))
WEIGHTS = np.array([[0.5, 0.1, 0.3], [-0.2, 0.4, 0.0]], dtype=np.float32)


def test_smoothing_changes_no_product() -> None:
    scales = smoothing(SEEN, WEIGHTS)
    tokens = np.array([[1.0, 15.0, 0.0], [-1.0, -0.2, 0.0]], dtype=np.float32)
    np.testing.assert_allclose((tokens / scales) @ (WEIGHTS * scales).T, tokens @ WEIGHTS.T, rtol=1e-5)


def test_smoothing_brings_large_channels_nearer_to_the_others() -> None:
    scales = smoothing(SEEN, WEIGHTS)
    assert 20 / scales[1] < 3 * (2 / scales[0])


@pytest.mark.parametrize("least, most", [(-0.17, 4.0), (-3.0, 2.9), (0.5, 1.0), (-2.0, -1.0), (0.0, 0.0)])
def test_range_holds_what_was_seen_and_a_step_for_zero(least: float, most: float) -> None:
    low, high = uint8_range(Range(least=np.float32([least]), most=np.float32([most])), np.ones(1, np.float32))
    step = (high - low) / 255
    assert low <= least + step / 2 and most - step / 2 <= high
    assert (0 - low) / step == pytest.approx(round(-low / step), abs=1e-3)


def test_rows_are_whole_numbers_within_half_a_step_of_the_weights() -> None:
    rows, steps = int8_rows(np.array([[0.5, -1.27, 0.004], [0, 0, 0]], dtype=np.float32))
    assert rows.tolist() == [[50, -127, 0], [0, 0, 0]]
    assert steps[0, 0] == pytest.approx(0.01)


def test_golden_texts_are_no_calibration_texts() -> None:
    calibration = CALIBRATION.read_text(encoding="utf-8")
    assert [text for text in GOLDEN_TEXTS if len(text) > 1 and text.strip() in calibration] == []
