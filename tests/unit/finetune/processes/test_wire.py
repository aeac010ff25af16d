from pathlib import Path

import pytest

from finetune.config import Tuning, settle
from finetune.errors import TrainingFailed
from finetune.events import Checkpoint, Event, Message, Metrics, Stop
from finetune.job import Outcome, TuningJob
from finetune.model import Base
from finetune.processes.wire import JOB, line_of, told_by
from tests.fakes.tuned import MANIFEST
from tests.fakes.tuning_jobs import plan_of


@pytest.mark.parametrize(
    "told",
    [
        Message(text="Grüße\n🙂", level="warn"),
        Metrics(step=3, total_steps=9, epoch=0.5, values={"train_loss": 1.5}, tokens=7),
        Checkpoint(step=3, folder=Path("/a/b"), values={"train_loss": 0.1}),
        Outcome(step=4, trained_tokens=9, stopped=Stop.PAUSE),
        Outcome(step=9, folder=Path("/a/model"), manifest=MANIFEST),
    ],
)
def test_what_is_told_is_what_is_heard(told: Event | Outcome) -> None:
    line = line_of(told)
    assert line.count("\n") == 1
    assert told_by(line) == told


def test_a_failure_keeps_its_reason_code_and_hint() -> None:
    heard = told_by(line_of(TrainingFailed("It failed.", code="busy", hint="Wait.")))
    assert isinstance(heard, TrainingFailed)
    assert (heard.text, heard.code, heard.hint, str(heard)) == ("It failed.", "busy", "Wait.", "It failed. Wait.")


@pytest.mark.parametrize("lora", [{"r": 4, "targets": ("q_proj", "v_proj")}, None])
def test_a_job_passes_whole(lora: dict[str, object] | None) -> None:
    tuning = Tuning.model_validate({"quantization": "none", "lora": lora, "seed": 3})
    job = TuningJob(
        base=Base(source="some/model", revision="abc", adapter=Path("/adapter")),
        settings=settle(tuning, examples=20, longest_input=None),
        training_file=Path("/a.jsonl"),
        folder=Path("/job"),
        device="cpu",
        plan=plan_of(2, 4),
        name="ft:a:b::c",
        report_to=("wandb",),
    )
    assert JOB.validate_json(JOB.dump_json(job)) == job
