"""The trainer as a process: what it tells comes through, what is asked of it goes in, and it outlives no parent."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.errors import TrainerKilled, TrainingFailed
from finetune.events import Checkpoint, Message, Metrics, Stop
from finetune.job import LOG, TuningJob
from finetune.model import Base
from finetune.processes.process import start
from finetune.processes.wire import JOB
from tests.fakes.tiny_model import tiny_model
from tests.fakes.tuning_jobs import job_of, write_chats

PARENT = """
import sys
from pathlib import Path
from finetune.processes.process import start
from finetune.processes.wire import JOB
trainer = start(JOB.validate_json(Path(sys.argv[1]).read_bytes()))
print(trainer.pid, flush=True)
for event in trainer.events():
    print(type(event).__name__, flush=True)
"""


@pytest.fixture
def job(tmp_path: Path) -> TuningJob:
    training = write_chats(tmp_path / "training.jsonl", times=20)
    base = tiny_model(tmp_path / "base")
    return job_of(tmp_path / "job", base, training, quantization="none", n_epochs=2, batch_size=1)


def test_a_training_is_paused_and_ends_in_another_process(job: TuningJob) -> None:
    first = start(job)
    told = []
    for event in first.events():
        told.append(event)
        if isinstance(event, Metrics) and event.step == 3:
            first.stop(Stop.PAUSE)
    paused = first.outcome()
    assert paused.stopped is Stop.PAUSE
    assert 3 <= paused.step < 80
    assert {type(event) for event in told} == {Message, Metrics, Checkpoint}
    second = start(job)
    metrics = [event for event in second.events() if isinstance(event, Metrics)]
    assert [event.step for event in metrics] == list(range(1, 81))
    assert [event.step for event in metrics if event.recalled] == list(range(1, paused.step + 1))
    outcome = second.outcome()
    assert (outcome.step, outcome.folder) == (80, job.folder / "model")
    assert outcome.manifest is not None
    assert outcome.manifest.steps == 80
    second.stop(Stop.CANCEL)
    second.kill()


def test_the_trainer_ends_with_its_parent_though_that_is_killed(job: TuningJob, tmp_path: Path) -> None:
    described = tmp_path / "described.json"
    described.write_bytes(JOB.dump_json(job))
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PARENT, str(described)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        assert parent.stdout is not None
        trainer = int(parent.stdout.readline())
        while parent.stdout.readline() != "Metrics\n":
            pass
        parent.kill()
    assert gone(trainer)


def test_a_trainer_that_is_killed_is_told_from_one_that_fails(job: TuningJob) -> None:
    trainer = start(job)
    os.kill(trainer.pid, signal.SIGKILL)
    with pytest.raises(TrainerKilled) as caught:
        trainer.outcome()
    assert (caught.value.retryable, caught.value.code) == (True, "killed")
    assert "memory" in caught.value.hint


def test_a_failure_comes_with_its_reason_and_the_log_with_the_rest(job: TuningJob) -> None:
    trainer = start(replace(job, base=Base(source="/nowhere/at/all")))
    assert list(trainer.events()) == []
    with pytest.raises(TrainingFailed) as caught:
        trainer.outcome()
    assert (caught.value.code, caught.value.retryable) == ("unavailable_model", False)
    assert "Give a directory" in caught.value.hint
    assert "Traceback" in (job.folder / LOG).read_text(encoding="utf-8")


def test_starting_a_trainer_imports_no_torch() -> None:
    code = (
        "import sys, finetune.processes.process; print({'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ran.stdout == "set()\n"


def gone(process: int) -> bool:
    """Wait a little for a process to end, whoever's child it is by now."""
    for _ in range(100):
        try:
            status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        except FileNotFoundError:
            return True
        if status.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False
