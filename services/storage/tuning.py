"""Fine-tuning jobs with their events and checkpoints."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.events import Level, Metrics
from services.ids import FINE_TUNING_CHECKPOINT, FINE_TUNING_EVENT, new_id
from services.storage.paging import Page, PageRequest, read_page
from services.storage.tuning_tables import EventType, TuningCheckpointRow, TuningEventRow, TuningRow

Metadata: TypeAlias = Mapping[str, str] | None

LOSSES = {"train_loss": "training loss", "valid_loss": "validation loss", "full_valid_loss": "full validation loss"}


def find_job(session: Session, project_id: str, job_id: str) -> TuningRow | None:
    mine = select(TuningRow).where(TuningRow.project_id == project_id)
    return session.scalar(mine.where(TuningRow.id == job_id))


def list_jobs(
    session: Session, project_id: str, request: PageRequest, *, wanted: Callable[[Metadata], bool] | None = None
) -> Page[TuningRow]:
    """Give a project's jobs, or those whose metadata are wanted."""
    mine = TuningRow.project_id == project_id
    rows = select(TuningRow).where(mine)
    if wanted is not None:
        # Asked here: a key may hold what a database's path to a JSON value cannot.
        given = session.execute(select(TuningRow.seq, TuningRow.request).where(mine))
        rows = rows.where(TuningRow.seq.in_([seq for seq, body in given if wanted(body.get("metadata"))]))
    cursors = select(TuningRow.seq).where(mine)
    return read_page(session, rows, request, seq=TuningRow.seq, cursors=cursors, cursor_id=TuningRow.id)


def all_jobs(session: Session, project_id: str) -> Sequence[TuningRow]:
    """Give the jobs of a project, newest first."""
    return session.scalars(
        select(TuningRow).where(TuningRow.project_id == project_id).order_by(TuningRow.seq.desc())
    ).all()


def add_message(
    session: Session, job: TuningRow, text: str, *, level: Level = "info", data: Mapping[str, Any] | None = None
) -> None:
    """Tell something of a job to whoever reads its events."""
    session.add(_event(job, EventType.MESSAGE, text, level=level, data=dict(data or {})))
    session.flush()


def record_metrics(session: Session, job: TuningRow, metrics: Metrics) -> None:
    """Keep what was measured at a step; of one that is told again the later word counts, where the first one stood."""
    mine = select(TuningEventRow).where(TuningEventRow.job_seq == job.seq, TuningEventRow.step == metrics.step)
    event = session.scalar(mine)
    if event is None:
        event = _event(job, EventType.METRICS, "", step=metrics.step, data={})
        session.add(event)
    before = event.data or {}
    told = {"step": metrics.step, "total_steps": metrics.total_steps, "epoch": metrics.epoch, "tokens": metrics.tokens}
    event.data = before | told | finite(metrics.values)
    event.message = _sentence(metrics, before | dict(metrics.values))
    event.created_at = int(time.time())
    session.flush()


def record_checkpoint(
    session: Session, job: TuningRow, *, step: int, model_id: str, values: Mapping[str, float]
) -> bool:
    """Keep a checkpoint; False for one of a step that was kept before, whose metrics are brought up to date."""
    mine = select(TuningCheckpointRow).where(TuningCheckpointRow.job_seq == job.seq, TuningCheckpointRow.step == step)
    found = session.scalar(mine)
    if found is not None:
        found.metrics = finite(values)
        return False
    session.add(
        TuningCheckpointRow(
            id=new_id(FINE_TUNING_CHECKPOINT),
            project_id=job.project_id,
            job_seq=job.seq,
            step=step,
            model_id=model_id,
            metrics=finite(values),
            created_at=int(time.time()),
        )
    )
    session.flush()
    return True


def list_events(session: Session, job: TuningRow, request: PageRequest) -> Page[TuningEventRow]:
    mine = TuningEventRow.job_seq == job.seq
    rows, cursors = select(TuningEventRow).where(mine), select(TuningEventRow.seq).where(mine)
    return read_page(session, rows, request, seq=TuningEventRow.seq, cursors=cursors, cursor_id=TuningEventRow.id)


def events_after(session: Session, job: TuningRow, seq: int) -> Sequence[TuningEventRow]:
    """Give a job's events from after one on, oldest first; 0 gives them all."""
    mine = select(TuningEventRow).where(TuningEventRow.job_seq == job.seq, TuningEventRow.seq > seq)
    return session.scalars(mine.order_by(TuningEventRow.seq)).all()


def metrics_of(session: Session, job: TuningRow) -> Iterator[Mapping[str, Any]]:
    """Give what was measured at each step, in the order of steps."""
    mine = select(TuningEventRow.data).where(TuningEventRow.job_seq == job.seq, TuningEventRow.step.is_not(None))
    return (data or {} for data in session.scalars(mine.order_by(TuningEventRow.step)))


def list_checkpoints(session: Session, job: TuningRow, request: PageRequest) -> Page[TuningCheckpointRow]:
    mine = TuningCheckpointRow.job_seq == job.seq
    rows, cursors = select(TuningCheckpointRow).where(mine), select(TuningCheckpointRow.seq).where(mine)
    seq, cursor_id = TuningCheckpointRow.seq, TuningCheckpointRow.id
    return read_page(session, rows, request, seq=seq, cursors=cursors, cursor_id=cursor_id)


def last_step(session: Session, job: TuningRow) -> int:
    """Give the step of the newest checkpoint, 0 where there is none."""
    mine = select(TuningCheckpointRow.step).where(TuningCheckpointRow.job_seq == job.seq)
    return session.scalar(mine.order_by(TuningCheckpointRow.step.desc()).limit(1)) or 0


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Leave out what JSON has no word for: the loss of a training that diverged is no number."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _sentence(metrics: Metrics, values: Mapping[str, float]) -> str:
    losses = [f"{said}={values[name]:.4f}" for name, said in LOSSES.items() if name in values]
    return f"Step {metrics.step}/{metrics.total_steps}: {', '.join(losses)}".rstrip(": ")


def _event(
    job: TuningRow,
    kind: EventType,
    message: str,
    *,
    level: Level = "info",
    step: int | None = None,
    data: dict[str, Any],
) -> TuningEventRow:
    return TuningEventRow(
        id=new_id(FINE_TUNING_EVENT),
        project_id=job.project_id,
        job_seq=job.seq,
        type=kind,
        level=level,
        message=message,
        step=step,
        data=data,
        created_at=int(time.time()),
    )
