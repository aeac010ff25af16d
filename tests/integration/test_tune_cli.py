"""`loam finetune run` and the verbs around it, over a home with no server; the trainer is scripted."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from finetune.errors import TrainerKilled, TrainingFailed
from finetune.job import TuningJob
from finetune.processes import prepare_process
from services.cli.main import cli
from services.jobs import training, worker
from tests.fakes.trainer import FakePreparation, FakeTrainer

CHAT = {"messages": [{"role": "user", "content": "two and two?"}, {"role": "assistant", "content": "four"}]}


class Shell:
    """Runs `loam finetune` in this process over a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *words: object, code: int = 0) -> Result:
        ran = CliRunner().invoke(cli, ["--home", str(self.home), "finetune", *map(str, words)])
        if ran.exit_code != code:
            raise AssertionError(ran.output) from ran.exception
        return ran

    def json(self, *words: object, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code).stdout)


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(training, "TICK_S", 0.02)
    monkeypatch.setattr(worker, "POLL_S", 0.02)
    monkeypatch.setattr(prepare_process, "start", lambda preparing, _folder: FakePreparation(preparing))
    monkeypatch.setattr("services.parity.prove_tuned", lambda _services, _tuned, _stopped: None)
    train_with(monkeypatch, FakeTrainer)
    return Shell(home)


def train_with(monkeypatch: pytest.MonkeyPatch, train: Callable[[TuningJob], FakeTrainer]) -> None:
    monkeypatch.setattr("finetune.processes.process.start", train)


def at_step(number: int, act: Callable[[FakeTrainer], None]) -> Callable[[TuningJob], FakeTrainer]:
    return lambda job: FakeTrainer(job, at=lambda trainer, step: act(trainer) if step == number else None)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that names its model and its file from its own folder on."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(CHAT)}\n" * 10)
    path = tmp_path / "recipe.yaml"
    path.write_text(f"model: {tmp_path / 'tiny'}\ntraining_file: train.jsonl\nsuffix: cook\nseed: 7\n")
    return path


def test_recipe_becomes_a_model_with_its_curve(shell: Shell, recipe: Path) -> None:
    ran = shell.run("run", recipe)
    (job,) = shell.json("list")
    name = job["fine_tuned_model"]
    assert name == f"ft:tiny:default:cook:{job['id'][-8:]}"
    curve = shell.home / "tuning" / job["id"] / "loss.png"
    assert ran.stdout.splitlines() == [f"Tuned model: {name}", f"Loss curve:  {curve}"]
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert "Step 4/4: training loss=0.2500" in ran.stderr
    assert "The job has successfully completed" in ran.stderr
    assert job["seed"] == 7


def test_run_for_programs_prints_the_job_alone(shell: Shell, recipe: Path) -> None:
    job = shell.json("run", recipe)
    assert (job["status"], job["object"]) == ("succeeded", "fine_tuning.job")
    assert Path(job["loss_curve"]).is_file()


def test_training_that_fails_is_1_with_the_reason(shell: Shell, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(trainer: FakeTrainer) -> None:
        trainer.error = TrainingFailed("The disk is full.", code="disk_full", hint="Free some.")

    train_with(monkeypatch, at_step(3, fail))
    ran = shell.run("run", recipe, code=1)
    assert "Error: The disk is full. Free some." in ran.stderr
    assert ran.stdout.startswith("Loss curve:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: [", "not valid YAML"),
        ("model: m\ntraining_file: nowhere.jsonl\n", "training_file: there is no file"),
        ("model: m\ntraining_file: train.jsonl\nepochs: 3\n", "epochs: there is no such setting"),
        ("training_file: train.jsonl\n", "model: field required"),
    ],
)
def test_recipe_that_means_nothing_is_2(shell: Shell, recipe: Path, text: str, said: str) -> None:
    recipe.write_text(text, encoding="utf-8")
    assert said in shell.run("run", recipe, code=2).stderr


def test_interrupted_run_keeps_a_checkpoint_and_says_how_to_go_on(
    shell: Shell, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(trainer: FakeTrainer) -> None:
        signal.raise_signal(signal.SIGINT)
        assert trainer.asked.wait(10)

    train_with(monkeypatch, at_step(4, interrupt))
    ran = shell.run("run", recipe, code=1)
    (job,) = shell.json("list")
    assert f"loam finetune resume {job['id']}" in ran.stderr
    assert job["status"] == "queued"
    train_with(monkeypatch, FakeTrainer)
    assert "It begins after step 3" in shell.run("resume", job["id"]).stderr
    assert [one["status"] for one in shell.json("list")] == ["succeeded"]


def test_failed_job_resumes_from_its_checkpoint(shell: Shell, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(trainer: FakeTrainer) -> None:
        trainer.error = TrainerKilled("The trainer was killed.")

    monkeypatch.setattr("services.jobs.tasks.BACKOFF_S", 0.0)
    train_with(monkeypatch, at_step(4, kill))
    job = shell.json("run", recipe, code=1)
    assert (job["status"], job["error"]["message"]) == ("failed", "The trainer was killed.")
    train_with(monkeypatch, FakeTrainer)
    assert shell.json("resume", job["id"])["status"] == "succeeded"


def test_job_is_paused_resumed_and_cancelled_by_name(
    shell: Shell, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(trainer: FakeTrainer) -> None:
        if trainer.why is None:
            shell.run("pause", trainer.job.folder.name)
            assert trainer.asked.wait(10)

    train_with(monkeypatch, at_step(3, pause))
    job = shell.json("run", recipe, code=1)
    assert job["status"] == "paused"
    assert shell.run("resume", job["id"], "--detach").stdout == f"{job['id']} is queued.\n"
    assert shell.json("cancel", job["id"])["status"] == "cancelled"
    assert "already ended" in str(shell.run("resume", job["id"], code=1).exception)


def test_events_are_told_oldest_first(shell: Shell, recipe: Path) -> None:
    job = shell.json("run", recipe)
    told = shell.json("events", job["id"])
    assert told[0]["message"] == f"Created fine-tuning job: {job['id']}"
    lines = shell.run("events", job["id"], "--follow", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [event["id"] for event in told]
    people = shell.run("events", job["id"]).stdout.splitlines()
    assert people[-1].endswith("info  The job has successfully completed")


def test_job_that_is_not_there_is_named(shell: Shell) -> None:
    for words in (["events", "ftjob-1"], ["cancel", "ftjob-1"], ["resume", "ftjob-1"]):
        assert "no fine-tuning job 'ftjob-1'" in str(shell.run(*words, code=1).exception)
