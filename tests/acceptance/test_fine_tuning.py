"""Fine-tuning as OpenAI's clients know it: a file in, a model out that answers, with the official SDK unchanged."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.acceptance.serving import Server, serving
from tests.fakes.tiny_model import tiny_model

pytestmark = pytest.mark.acceptance

ENDED = ("succeeded", "failed", "cancelled")
WAIT_S = 240
EXAMPLES, BATCH, EPOCHS, EVERY = 48, 4, 8, 12
STEPS = EPOCHS * EXAMPLES // BATCH
# One thread computes tiny models faster than several that wait for each other.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
PLAIN = {"quantization": "none", "lora": {"r": 4}}


def chats(asked: str = "what is", count: int = EXAMPLES) -> bytes:
    rows = (
        [{"role": "user", "content": f"{asked} {n}?"}, {"role": "assistant", "content": f"it is {n}."}]
        for n in range(count)
    )
    return b"".join(json.dumps({"messages": messages}).encode() + b"\n" for messages in rows)


@pytest.fixture(scope="module")
def _one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ONE_THREAD.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def roots(base: Path, _one_thread: None) -> dict[str, str]:
    """The setting that lets a tiny model be named over HTTP."""
    return {"model_roots": json.dumps([str(base.parent)])}


class Killed(Exception):
    """The server is gone: it will not leave in order."""


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory, roots: dict[str, str]) -> tuple[Path, str]:
    """The home and the id of a job whose trainer was killed and then, with the next trainer, its server."""
    home = tmp_path_factory.mktemp("tuning") / "home"
    with suppress(Killed), serving(home, **roots) as server, server.client() as client:
        created = client.fine_tuning.jobs.create(
            model="tiny",
            training_file=upload(client, chats()),
            validation_file=upload(client, chats("which is")),
            suffix="cook",
            seed=7,
            metadata={"team": "kitchen"},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": EPOCHS, "batch_size": BATCH}}},
            extra_body={**PLAIN, "checkpoint_steps": EVERY},
        )
        assert (created.object, created.status) == ("fine_tuning.job", "validating_files")
        wait_for(client, created.id, lambda _job: step_of(client, created.id) > EVERY)
        trainer_of(server).kill()
        reached = step_of(client, created.id)
        wait_for(client, created.id, lambda _job: goings_on(client, created.id) == 1)
        wait_for(client, created.id, lambda _job: step_of(client, created.id) > reached + EVERY)
        trainer = trainer_of(server)
        server.process.kill()
        trainer.wait(10)
        raise Killed
    return home, created.id


@pytest.fixture(scope="module")
def tuning(survivor: tuple[Path, str], roots: dict[str, str]) -> Iterator[Server]:
    """The next server on that home."""
    with serving(survivor[0], **roots) as server:
        yield server


@pytest.fixture(scope="module")
def done(tuning: Server, survivor: tuple[Path, str]) -> FineTuningJob:
    """The job, once it has succeeded; tests only look at it."""
    with tuning.client() as client:
        return wait_for(client, survivor[1], ended)


@pytest.fixture
def client(tuning: Server) -> Iterator[OpenAI]:
    with tuning.client() as client:
        yield client


def upload(client: OpenAI, content: bytes, purpose: Any = "fine-tune") -> str:
    return client.files.create(file=("examples.jsonl", content), purpose=purpose).id


def wait_for(client: OpenAI, job_id: str, met: Callable[[FineTuningJob], bool]) -> FineTuningJob:
    until = time.monotonic() + WAIT_S
    while not met(job := client.fine_tuning.jobs.retrieve(job_id)):
        assert job.error is None, job.error.message
        assert time.monotonic() < until, job
        time.sleep(0.1)
    return job


def ended(job: FineTuningJob) -> bool:
    return job.status in ENDED


def goings_on(client: OpenAI, job_id: str) -> int:
    """How often a job has gone on from a checkpoint."""
    events = client.fine_tuning.jobs.list_events(job_id, limit=1000).data
    return sum(event.message.startswith("Fine-tuning job goes on from step") for event in events)


def step_of(client: OpenAI, job_id: str) -> int:
    """The newest step that was told."""
    events = client.fine_tuning.jobs.list_events(job_id, limit=50).data
    return max((event.data["step"] for event in events if event.type == "metrics"), default=0)  # type: ignore[index]


def trainer_of(server: Server) -> psutil.Process:
    """The trainer's process, which a server has started."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(child for child in children if "finetune.processes.trainer_process" in child.cmdline())


def test_job_outlives_its_trainer_and_its_server(client: OpenAI, done: FineTuningJob) -> None:
    assert done.status == "succeeded"
    assert goings_on(client, done.id) == 2


def test_job_succeeds_with_all_that_openai_tells(done: FineTuningJob) -> None:
    assert (done.status, done.error) == ("succeeded", None)
    assert done.fine_tuned_model == f"ft:tiny:default:cook:{done.id[-8:]}"
    assert done.hyperparameters.to_dict() == {
        "n_epochs": EPOCHS,
        "batch_size": BATCH,
        "learning_rate_multiplier": 1.0,
    }
    assert done.method is not None
    assert done.method.type == "supervised"
    assert (done.seed, done.metadata, done.model) == (7, {"team": "kitchen"}, "tiny")
    assert done.trained_tokens is not None
    assert done.trained_tokens > 0
    assert done.finished_at is not None
    assert done.created_at <= done.finished_at
    assert len(done.result_files) == 1


def test_events_are_paged_newest_first(client: OpenAI, done: FineTuningJob) -> None:
    page = client.fine_tuning.jobs.list_events(done.id, limit=3)
    assert (len(page.data), page.has_more) == (3, True)
    events = list(page)
    assert len({event.id for event in events}) == len(events)
    told = [event.message for event in reversed(events)]
    assert told[0] == f"Created fine-tuning job: {done.id}"
    assert told[-1] == "The job has successfully completed"
    assert told.index("Fine-tuning job started") < told.index(f"Checkpoint created at step {EVERY}")
    metrics = [event.data for event in reversed(events) if event.type == "metrics"]
    assert sorted(values["step"] for values in metrics) == list(range(1, STEPS + 1))
    assert all({"train_loss", "train_mean_token_accuracy", "total_steps"} <= values.keys() for values in metrics)


def test_checkpoints_are_paged_and_answer(client: OpenAI, done: FineTuningJob) -> None:
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(done.id, limit=2))
    assert [checkpoint.step_number for checkpoint in checkpoints] == list(range(STEPS, 0, -EVERY))
    assert checkpoints[0].fine_tuned_model_checkpoint == f"{done.fine_tuned_model}:ckpt-step-{STEPS}"
    assert checkpoints[0].metrics.full_valid_loss is not None
    assert said(client, checkpoints[-1].fine_tuned_model_checkpoint) is not None


def test_result_file_has_a_line_a_step(client: OpenAI, done: FineTuningJob) -> None:
    file_id = done.result_files[0]
    assert client.files.retrieve(file_id).purpose == "fine-tune-results"
    rows = list(csv.DictReader(client.files.content(file_id).text.splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert list(rows[0])[:5] == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert all(float(row["train_loss"]) > 0 for row in rows)
    assert [int(row["step"]) for row in rows if row["valid_loss"]] == list(range(EVERY, STEPS + 1, EVERY))


def said(client: OpenAI, model: str) -> str | None:
    ask: Any = {"role": "user", "content": "what is 3?"}
    return client.chat.completions.create(model=model, messages=[ask], max_tokens=4).choices[0].message.content


def test_tuned_model_answers_as_soon_as_the_job_succeeds(client: OpenAI, done: FineTuningJob) -> None:
    assert said(client, done.fine_tuned_model or "") is not None


def test_serving_was_held_against_training(done: FineTuningJob) -> None:
    parity: Any = done.to_dict()["parity"]
    assert parity["passed"]
    assert parity["identical"] == parity["sequences"] > 0


def test_jobs_are_listed_newest_first_and_by_metadata(client: OpenAI, done: FineTuningJob) -> None:
    other = client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, chats()))
    client.fine_tuning.jobs.cancel(other.id)
    assert [job.id for job in client.fine_tuning.jobs.list(limit=1)][:2] == [other.id, done.id]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"team": "kitchen"})] == [done.id]
    assert done.id not in [job.id for job in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})]


def test_bad_file_fails_the_job_with_every_problem(client: OpenAI) -> None:
    rows = chats() + b'{"messages": 3}\n{"messages": [{"role": "user", "content": "and?"}]}\nnot json\n'
    job = client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, rows), extra_body=PLAIN)
    failed = wait_for(client, job.id, ended)
    assert (failed.status, failed.fine_tuned_model, failed.result_files) == ("failed", None, [])
    assert failed.error is not None
    assert (failed.error.code, failed.error.param) == ("invalid_training_file", "training_file")
    assert "4 errors" in failed.error.message
    told = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=50)]
    assert [
        line
        for line in (EXAMPLES + 1, EXAMPLES + 2, EXAMPLES + 3)
        if not any(f"Line {line}" in message for message in told)
    ] == []


PAIRS = b'{"prompt": "two and two?", "chosen": "four", "rejected": "five"}\n'


@pytest.mark.parametrize(
    ("wanted", "param", "code"),
    [
        ({"model": "gpt-4o-mini"}, "model", "model_not_available"),
        ({"model": "/etc"}, "model", "model_not_available"),
        ({"training_file": "file-none"}, "training_file", "file_not_found"),
        ({"validation_file": "file-none"}, "validation_file", "file_not_found"),
        ({"suffix": "x" * 65}, "suffix", "invalid_value"),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, "method.type", "invalid_value"),
        ({"hyperparameters": {"n_epochs": 99}}, "hyperparameters.n_epochs", "invalid_value"),
        ({"extra_body": {"epochs": 3}}, "epochs", "unknown_parameter"),
        ({"extra_body": {"lora": None}}, "quantization", "invalid_value"),
        (
            {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
            "integrations",
            "integration_not_available",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(client: OpenAI, wanted: dict[str, Any], param: str, code: str) -> None:
    fields: dict[str, Any] = {"model": "tiny", "training_file": upload(client, chats())} | wanted
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(**fields)
    assert (refused.value.param, refused.value.code) == (param, code)


@pytest.mark.parametrize(
    ("content", "purpose", "param", "code"),
    [
        (chats(), "assistants", "training_file", "invalid_file_purpose"),
        (PAIRS, "fine-tune", "method", "incompatible_method"),
    ],
)
def test_file_that_cannot_be_used_is_refused_at_once(
    client: OpenAI, content: bytes, purpose: str, param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, content, purpose))
    assert (refused.value.param, refused.value.code) == (param, code)


def test_job_that_is_not_there_is_404(client: OpenAI) -> None:
    for act in (client.fine_tuning.jobs.retrieve, client.fine_tuning.jobs.cancel, client.fine_tuning.jobs.list_events):
        with pytest.raises(openai.NotFoundError):
            act("ftjob-none")
