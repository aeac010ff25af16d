import pytest

from services.engines.vllm.server import LONGEST_PAUSE_S, pause_s


@pytest.mark.parametrize(("crashes", "pause"), [(1, 0), (2, 1), (3, 2), (4, 4), (50, LONGEST_PAUSE_S)])
def test_the_pause_before_another_start_grows_with_every_crash(crashes: int, pause: float) -> None:
    assert pause_s(crashes) == pause
