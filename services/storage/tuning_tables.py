"""The tables of fine-tuning: jobs, what they tell, and what they made."""

from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from services.storage.tables import Base, one_of, owned


class TuningStatus(StrEnum):
    """States of a fine-tuning job; `services.tuning` holds the transitions between them."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED_TUNINGS = frozenset({TuningStatus.SUCCEEDED, TuningStatus.FAILED, TuningStatus.CANCELLED})


class EventType(StrEnum):
    """Kinds of fine-tuning events."""

    MESSAGE = "message"
    METRICS = "metrics"


class TuningRow(Base):
    """A fine-tuning job. `tuning` is what was asked, `settings` what was settled, `request` what else came with it.

    `status` is what users see; the queue's own row (`jobs`, kind `tune`, subject this `seq`) says who works on it.
    `wanted` is `pause` while the trainer has yet to follow. `base` is where the weights to tune are. `request` holds
    `metadata` and `integrations`, `root`, the short name of the root base, the base's `revision`, and the `device`.
    """

    __tablename__ = "fine_tuning_jobs"
    __table_args__ = (one_of("status", TuningStatus), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    project_id: Mapped[str] = owned()
    status: Mapped[str] = mapped_column(default=TuningStatus.VALIDATING_FILES)
    wanted: Mapped[str | None]
    model: Mapped[str]
    base: Mapped[str]
    parent_id: Mapped[str | None]
    training_file_id: Mapped[str]
    validation_file_id: Mapped[str | None]
    training_sha256: Mapped[str]
    validation_sha256: Mapped[str | None]
    suffix: Mapped[str | None]
    tuning: Mapped[dict[str, Any]]
    settings: Mapped[dict[str, Any] | None]
    request: Mapped[dict[str, Any]]
    plan: Mapped[dict[str, Any] | None]
    parity: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_param: Mapped[str | None]
    trained_tokens: Mapped[int | None]
    estimated_finish: Mapped[int | None]
    fine_tuned_model: Mapped[str | None]
    result_file_id: Mapped[str | None]
    created_at: Mapped[int]
    started_at: Mapped[int | None]
    finished_at: Mapped[int | None]


class TuningEventRow(Base):
    """An event of a fine-tuning job. A step has one event of metrics: one that is run again replaces it."""

    __tablename__ = "fine_tuning_events"
    __table_args__ = (
        UniqueConstraint("job_seq", "step"),
        one_of("type", EventType),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    project_id: Mapped[str] = owned()
    job_seq: Mapped[int] = mapped_column(ForeignKey("fine_tuning_jobs.seq", ondelete="CASCADE"), index=True)
    type: Mapped[str]
    level: Mapped[str]
    message: Mapped[str]
    step: Mapped[int | None]
    data: Mapped[dict[str, Any] | None]
    created_at: Mapped[int]


class TuningCheckpointRow(Base):
    """A checkpoint of a fine-tuning job; `model_id` is the name in `tuned_models`."""

    __tablename__ = "fine_tuning_checkpoints"
    __table_args__ = (UniqueConstraint("job_seq", "step"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    project_id: Mapped[str] = owned()
    job_seq: Mapped[int] = mapped_column(ForeignKey("fine_tuning_jobs.seq", ondelete="CASCADE"), index=True)
    step: Mapped[int]
    model_id: Mapped[str]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[int]


class TunedModelRow(Base):
    """A tuned model or a checkpoint of one, served from `folder`, which holds its manifest.

    `parent` is the model that was named for tuning, `kind` the manifest's. `over` is the model whose weights it is
    served over, None for those it was trained over; one that is `forced` is served though its passport does not fit.
    """

    __tablename__ = "tuned_models"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[str]
    parent: Mapped[str]
    folder: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    over: Mapped[str | None]
    forced: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[int]
