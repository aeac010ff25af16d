"""What can go wrong with a training: a reason and what to do, never a job that is stuck or half a model."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from finetune.errors import TrainingFailed
from finetune.job import TuningJob
from finetune.model import Base
from finetune.run import tune
from finetune.train import alone, checkpoints
from finetune.train.checkpoints import NEW, newest, whole
from tests.fakes.tiny_model import tiny_model
from tests.fakes.tuning_jobs import Told, job_of, plan_of, write_chats, write_pairs

RECIPE: dict[str, Any] = {"quantization": "none", "batch_size": 4, "n_epochs": 2}


@pytest.fixture(autouse=True)
def without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded for parity takes longer than a tiny training, and is proved elsewhere."""
    monkeypatch.setattr("finetune.train.result.record", lambda *_, **__: 0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def job(tmp_path: Path, base: Path) -> TuningJob:
    return job_of(tmp_path / "job", base, write_chats(tmp_path / "training.jsonl", times=4), **RECIPE)


def failure(job: TuningJob) -> TrainingFailed:
    with pytest.raises(TrainingFailed) as caught:
        tune(job, Told(), lambda: None)
    return caught.value


def test_an_unknown_model_is_said_to_be(job: TuningJob) -> None:
    failed = failure(replace(job, base=Base(source="/nowhere/at/all")))
    assert (failed.code, failed.text.partition(":")[0]) == (
        "unavailable_model",
        "The model '/nowhere/at/all' cannot be found",
    )
    assert "directory" in failed.hint


def test_a_base_without_a_chat_template_says_what_to_do(tmp_path: Path, job: TuningJob) -> None:
    plain = tiny_model(tmp_path / "plain", template=None)
    failed = failure(replace(job, base=Base(source=str(plain))))
    assert failed.code == "no_chat_template"
    assert "Choose its instruct version, or give it one." in str(failed)


def test_a_file_of_another_method_is_refused(tmp_path: Path, job: TuningJob) -> None:
    failed = failure(replace(job, training_file=write_pairs(tmp_path / "pairs.jsonl")))
    assert failed.code == "invalid_file"
    assert "is a file for dpo or reward, and the method is supervised" in failed.text


def test_an_example_that_the_limit_empties_is_named_and_never_dropped(tmp_path: Path, base: Path) -> None:
    training = write_chats(tmp_path / "training.jsonl", {"what?": "four.", "what is " + "two " * 40: "four."})
    failed = failure(job_of(tmp_path / "job", base, training, max_length=60, **RECIPE))
    assert failed.code == "invalid_file"
    assert "Line 2: the limit of 60 tokens cuts everything that is to be learned." in failed.text


def test_targets_that_the_model_does_not_have_are_named(tmp_path: Path, base: Path) -> None:
    training = write_chats(tmp_path / "training.jsonl")
    failed = failure(job_of(tmp_path / "job", base, training, lora={"targets": ["nothing_proj"]}, **RECIPE))
    assert failed.code == "unknown_targets"
    assert "nothing_proj" in failed.text


def test_too_little_disk_is_told_before_the_first_step(job: TuningJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SPARE_BYTES", 1 << 60)
    failed = failure(job)
    assert failed.code == "disk_full"
    assert "2 checkpoints and the model take" in failed.text
    assert whole(job.folder / "checkpoints") == []


def test_a_disk_that_is_full_while_saving_leaves_the_last_checkpoint(
    job: TuningJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if newest(job.folder / "checkpoints") is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        failed = failure(job)
    assert (failed.code, failed.text) == ("disk_full", "The disk is full.")
    assert [path.name for path in whole(job.folder / "checkpoints")] == ["step-2"]
    assert not (job.folder / "checkpoints" / NEW).exists()
    assert tune(job, Told(), lambda: None).step == 4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "out_of_memory"),
        (RuntimeError("CUDA error: unspecified launch failure"), "device_lost"),
        (RuntimeError("something else"), "failed"),
    ],
)
def test_what_fails_in_the_worst_step_is_told_before_the_first(
    job: TuningJob, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("finetune.train.trainer.JobTrainer._throwaway_optimizer", fails)
    told = Told()
    with pytest.raises(TrainingFailed) as caught:
        tune(job, told, lambda: None)
    assert caught.value.code == code
    assert told.curve == {}


def test_a_training_that_diverges_ends_with_the_step_named(tmp_path: Path, base: Path) -> None:
    training = write_chats(tmp_path / "training.jsonl", times=4)
    failed = failure(job_of(tmp_path / "job", base, training, lora=None, learning_rate=1e30, **RECIPE))
    assert failed.code == "diverged"
    assert "Lower the learning rate" in failed.hint


def test_kto_needs_two_answers_side_by_side(tmp_path: Path, base: Path) -> None:
    rows = tmp_path / "labelled.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b", "label": true}\n' * 4)
    failed = failure(job_of(tmp_path / "job", base, rows, method="kto", job={"plan": plan_of(1, 4)}))
    assert failed.code == "batch_too_small"


def test_a_folder_is_trained_in_by_one_process(job: TuningJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "WAIT_S", 0.0)
    job.folder.mkdir()
    with FileLock(job.folder / ".lock"):
        assert failure(job).code == "busy"


def test_an_integration_that_is_not_installed_is_named(job: TuningJob) -> None:
    failed = failure(replace(job, report_to=("tensorboard",)))
    assert failed.code == "not_installed"
    assert "pip install tensorboard" in failed.hint
