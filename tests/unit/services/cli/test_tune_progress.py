"""What people see of a training that runs."""

import io
import time
from typing import Any

import pytest
from rich.console import Console

from services.cli.tune_progress import Display, duration
from services.storage.tuning_tables import EventType, TuningEventRow, TuningRow


def event(seq: int, message: str, **data: Any) -> TuningEventRow:
    kind = EventType.METRICS if data else EventType.MESSAGE
    return TuningEventRow(seq=seq, type=kind, level="info", message=message, data=data)


def shown(
    events: list[TuningEventRow], *, live: bool, finish: int | None = None, status: str = "succeeded"
) -> tuple[str, Display]:
    said = io.StringIO()
    console = Console(file=said, force_terminal=live, width=200, color_system=None)
    with Display(console=console) as display:
        display.show(TuningRow(status=status, estimated_finish=finish), events)
        display._progress.refresh()
    return said.getvalue(), display


STEP = event(2, "Step 3/9: training loss=0.5000", step=3, total_steps=9, train_loss=0.5, tokens=30)


def test_where_nobody_sees_it_live_each_step_is_a_line() -> None:
    said, display = shown([event(1, "Fine-tuning job [started]"), STEP], live=False)
    assert said == "Fine-tuning job [started]\nStep 3/9: training loss=0.5000\n"
    assert display.seen == 2


def test_last_step_is_shown_once_nothing_more_is_told_of_it() -> None:
    said, display = shown([event(1, "Fine-tuning job started"), STEP], live=False, status="running")
    assert (said, display.seen) == ("Fine-tuning job started\n", 1)


def test_long_message_is_one_line_in_a_file() -> None:
    said, _ = shown([event(1, "word " * 100)], live=False)
    assert said.count("\n") == 1


def test_live_line_says_how_far_it_is_and_messages_stay_above() -> None:
    said, _ = shown(
        [event(1, "Fine-tuning job started"), STEP], live=True, finish=int(time.time()) + 90, status="running"
    )
    assert "Fine-tuning job started" in said
    assert "Step 3/9" not in said
    assert "3/9" in said
    assert "loss 0.5000" in said
    assert "1:" in said
    assert "left" in said


def test_pace_is_of_the_tokens_learned_since_it_was_first_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    display = Display(console=Console(file=io.StringIO()))
    assert (display._rate(100), display._rate(300)) == (None, 100.0)


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "0 s"), (42.4, "42 s"), (187, "3:07"), (3600, "1:00:00"), (3750, "1:02:30")]
)
def test_time_is_told_for_people(seconds: float, said: str) -> None:
    assert duration(seconds) == said
