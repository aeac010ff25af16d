"""How a training gets on, for people: its messages, and a line that lives below them."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from services.cli.tuning_jobs import settled
from services.storage.tuning_tables import EventType, TuningEventRow, TuningRow

STYLES = {"warn": "yellow", "error": "red"}
HOUR_S = 3600


class Display:
    """Shows events on stderr as they come; where nobody sees it live, each step is a line of its own.

    `seen` is the last event that was shown.
    """

    def __init__(self, *, seen: int = 0, console: Console | None = None) -> None:
        self.seen = seen
        self._console = console or Console(stderr=True)
        self._live = self._console.is_terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not self._live)
        self._bar: TaskID | None = None
        self._pace: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, row: TuningRow, events: Sequence[TuningEventRow]) -> None:
        """Show what is new of a job."""
        for event in settled(row, events):
            self.seen = event.seq
            if event.type == EventType.MESSAGE or not self._live:
                self._say(event.message, STYLES.get(event.level))
        steps = [event.data for event in events if event.type == EventType.METRICS and event.data]
        if steps:
            self._advance(steps[-1], row.estimated_finish)

    def _say(self, message: str, style: str | None) -> None:
        self._console.print(message, style=style, markup=False, highlight=False, soft_wrap=not self._live)

    def _advance(self, step: dict[str, Any], finish: int | None) -> None:
        total, done = step["total_steps"], step["step"]
        if self._bar is None:
            self._bar = self._progress.add_task("Training", total=total, said="")
        said = [f"loss {step['train_loss']:.4f}"] if "train_loss" in step else []
        if rate := self._rate(step["tokens"]):
            said.append(f"{rate:,.0f} tokens/s")
        if finish is not None:
            said.append(f"{duration(finish - time.time())} left")
        self._progress.update(self._bar, completed=done, total=total, said=", ".join(said))

    def _rate(self, tokens: int) -> float | None:
        """Give the learned tokens a second since the first that were seen here."""
        now = time.monotonic()
        if self._pace is None:
            self._pace = now, tokens
        begun, before = self._pace
        return (tokens - before) / (now - begun) if tokens > before else None


def duration(seconds: float) -> str:
    """Give a time for people: 42 s, 3:07, 1:02:30."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole % HOUR_S, 60)
    if whole >= HOUR_S:
        return f"{whole // HOUR_S}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
