"""The wire of fine-tuning jobs, their events and checkpoints, as they are given."""

from collections.abc import Mapping
from typing import Any, Literal

from openai.types.fine_tuning import FineTuningJob as OpenAIFineTuningJob
from openai.types.fine_tuning import FineTuningJobEvent
from openai.types.fine_tuning.fine_tuning_job import Error
from openai.types.fine_tuning.fine_tuning_job import Hyperparameters as OpenAIHyperparameters
from openai.types.fine_tuning.fine_tuning_job import Method as OpenAIMethod
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from openai.types.fine_tuning.jobs.fine_tuning_job_checkpoint import Metrics

from services.api.fine_tuning.requests import EXTRAS
from services.storage.tuning_tables import TuningCheckpointRow, TuningEventRow, TuningRow, TuningStatus

HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier")
WITH_BETA = ("dpo", "kto")


class Method(OpenAIMethod):
    """OpenAI's method, and those that it does not have; the options stand under the method's name."""

    type: str  # type: ignore[assignment]


class FineTuningJob(OpenAIFineTuningJob):
    """OpenAI's job, with the states of a pause, the plan, the parity, and what loam was asked beside."""

    status: Literal[  # type: ignore[assignment]
        "validating_files", "queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"
    ]
    method: Method | None = None
    integrations: list[dict[str, Any]] | None = None  # type: ignore[assignment]
    user_provided_suffix: str | None = None
    started_at: int | None = None
    plan: dict[str, Any] | None = None
    parity: dict[str, Any] | None = None
    quantization: str
    lora: dict[str, Any] | None
    learning_rate: float | None
    max_length: int | None
    packing: bool
    neftune_noise_alpha: float | None
    train_on: str
    checkpoint_steps: int | None
    sharding: str = "auto"


def job_object(row: TuningRow) -> FineTuningJob:
    """Give the wire form of a job. What was left to loam is `auto` or null until the files have been checked."""
    hyperparameters = _hyperparameters(row)
    method = str(row.tuning["method"])
    known = row.tuning | (row.settings or {})
    return FineTuningJob(
        id=row.id,
        object="fine_tuning.job",
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        estimated_finish=row.estimated_finish,
        model=row.model,
        fine_tuned_model=row.fine_tuned_model,
        organization_id=row.project_id,
        status=TuningStatus(row.status).value,
        error=_error(row),
        training_file=row.training_file_id,
        validation_file=row.validation_file_id,
        result_files=[row.result_file_id] if row.result_file_id else [],
        trained_tokens=row.trained_tokens,
        seed=row.tuning["seed"],
        hyperparameters=OpenAIHyperparameters(**{name: hyperparameters[name] for name in HYPERPARAMETERS}),
        method=Method.model_validate({"type": method, method: {"hyperparameters": hyperparameters}}),
        integrations=row.request["integrations"],
        metadata=row.request["metadata"],
        user_provided_suffix=row.suffix,
        plan=row.plan,
        parity=row.parity,
        # Jobs from before a field was there have none.
        **{name: known[name] for name in EXTRAS if name in known},
    )


def event_object(row: TuningEventRow) -> FineTuningJobEvent:
    return FineTuningJobEvent(
        id=row.id,
        object="fine_tuning.job.event",
        created_at=row.created_at,
        level=row.level,  # type: ignore[arg-type]
        message=row.message,
        type=row.type,  # type: ignore[arg-type]
        data=row.data or {},
    )


def checkpoint_object(row: TuningCheckpointRow, job_id: str) -> FineTuningJobCheckpoint:
    return FineTuningJobCheckpoint(
        id=row.id,
        object="fine_tuning.job.checkpoint",
        created_at=row.created_at,
        fine_tuning_job_id=job_id,
        fine_tuned_model_checkpoint=row.model_id,
        step_number=row.step,
        metrics=Metrics.model_validate({**row.metrics, "step": row.step}),
    )


def _hyperparameters(row: TuningRow) -> Mapping[str, Any]:
    """A multiplier that was left to loam is 1: the learning rate itself is given beside."""
    asked, settled = row.tuning["hyperparameters"], row.settings
    names = (*HYPERPARAMETERS, "beta") if row.tuning["method"] in WITH_BETA else HYPERPARAMETERS
    if settled is None:
        return {name: asked[name] for name in names}
    multiplier = asked["learning_rate_multiplier"]
    known = {**settled, "learning_rate_multiplier": 1.0 if multiplier == "auto" else multiplier}
    return {name: known[name] for name in names}


def _error(row: TuningRow) -> Error | None:
    if row.error_code is None:
        return None
    return Error(code=row.error_code, message=row.error_message or "", param=row.error_param)
