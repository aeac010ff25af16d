"""Who else is told of a training: the integrations of a job, as its trainer takes them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

WANDB = "wandb"


class Telling(TypedDict):
    """Those fields of a TuningJob."""

    report_to: tuple[str, ...]
    run_name: str | None
    environment: Mapping[str, str]


def telling(job_id: str, integrations: Sequence[Mapping[str, Any]]) -> Telling:
    """Give what a job's integrations mean for its trainer. A run of Weights & Biases is the job's, as OpenAI has it."""
    wandb = next((one[WANDB] for one in integrations if one["type"] == WANDB), None)
    return Telling(
        report_to=tuple(dict.fromkeys(one["type"] for one in integrations)),
        run_name=None if wandb is None else wandb.get("name") or job_id,
        environment={} if wandb is None else _variables(job_id, wandb),
    )


def _variables(job_id: str, wandb: Mapping[str, Any]) -> dict[str, str]:
    """Those that the package reads. With an id of its own a run that was broken off is gone on with."""
    variables = {"WANDB_PROJECT": wandb["project"], "WANDB_RUN_ID": job_id, "WANDB_RESUME": "allow"}
    if entity := wandb.get("entity"):
        variables["WANDB_ENTITY"] = entity
    if tags := wandb.get("tags"):
        variables["WANDB_TAGS"] = ",".join(tags)
    return variables
