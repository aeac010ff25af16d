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
EXAMPLES = 12
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
def tuning(tmp_path_factory: pytest.TempPathFactory, base: Path, _one_thread: None) -> Iterator[Server]:
    """A server below whose model roots a tiny model lies."""
    with serving(tmp_path_factory.mktemp("tuning") / "home", model_roots=json.dumps([str(base.parent)])) as server:
        yield server


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


@pytest.fixture(scope="module")
def done(tuning: Server) -> FineTuningJob:
    """A job that has succeeded; tests only look at it."""
    with tuning.client() as client:
        created = client.fine_tuning.jobs.create(
            model="tiny",
            training_file=upload(client, chats()),
            validation_file=upload(client, chats("which is")),
            suffix="cook",
            seed=7,
            metadata={"team": "kitchen"},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}},
            extra_body={**PLAIN, "checkpoint_steps": 2},
        )
        assert (created.object, created.status) == ("fine_tuning.job", "validating_files")
        return wait_for(client, created.id, ended)


def test_job_succeeds_with_all_that_openai_tells(done: FineTuningJob) -> None:
    assert (done.status, done.error) == ("succeeded", None)
    assert done.fine_tuned_model == f"ft:tiny:default:cook:{done.id[-8:]}"
    assert done.hyperparameters.to_dict() == {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}
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
    assert told.index("Fine-tuning job started") < told.index("Checkpoint created at step 2")
    metrics = [event.data for event in reversed(events) if event.type == "metrics"]
    assert [values["step"] for values in metrics] == [1, 2, 3, 4, 5, 6]
    assert all({"train_loss", "train_mean_token_accuracy", "total_steps"} <= values.keys() for values in metrics)


def test_checkpoints_are_paged_and_answer(client: OpenAI, done: FineTuningJob) -> None:
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(done.id, limit=2))
    assert [checkpoint.step_number for checkpoint in checkpoints] == [6, 4, 2]
    assert checkpoints[0].fine_tuned_model_checkpoint == f"{done.fine_tuned_model}:ckpt-step-6"
    assert checkpoints[0].metrics.full_valid_loss is not None
    assert said(client, checkpoints[-1].fine_tuned_model_checkpoint) is not None


def test_result_file_has_a_line_a_step(client: OpenAI, done: FineTuningJob) -> None:
    file_id = done.result_files[0]
    assert client.files.retrieve(file_id).purpose == "fine-tune-results"
    rows = list(csv.DictReader(client.files.content(file_id).text.splitlines()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert list(rows[0])[:5] == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert all(float(row["train_loss"]) > 0 for row in rows)
    assert [row["step"] for row in rows if row["valid_loss"]] == ["2", "4", "6"]


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
    assert [line for line in (13, 14, 15) if not any(f"Line {line}" in message for message in told)] == []


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


def step_of(client: OpenAI, job_id: str) -> int:
    """The newest step that was told."""
    events = client.fine_tuning.jobs.list_events(job_id, limit=50).data
    return max((event.data["step"] for event in events if event.type == "metrics"), default=0)  # type: ignore[index]


def trainer_of(server: Server) -> psutil.Process:
    """The trainer's process, which a server has started."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(child for child in children if "finetune.trainer_process" in child.cmdline())


class Killed(Exception):
    """The server is gone: it will not leave in order."""


@pytest.mark.timeout(600)
def test_job_outlives_its_trainer_and_its_server(tmp_path: Path, base: Path, _one_thread: None) -> None:
    """Both are killed. The steps are told once each, and the model answers at last."""
    home, roots = tmp_path / "home", json.dumps([str(base.parent)])
    with suppress(Killed), serving(home, model_roots=roots) as server, server.client() as client:
        job_id = client.fine_tuning.jobs.create(
            model="tiny",
            training_file=upload(client, chats(count=48)),
            hyperparameters={"n_epochs": 10, "batch_size": 4},
            extra_body={**PLAIN, "checkpoint_steps": 10},
        ).id
        wait_for(client, job_id, lambda _job: step_of(client, job_id) >= 12)
        trainer_of(server).kill()
        wait_for(client, job_id, lambda _job: goings_on(client, job_id) == 1 and step_of(client, job_id) >= 22)
        trainer = trainer_of(server)
        server.process.kill()
        trainer.wait(10)
        raise Killed
    with serving(home, model_roots=roots) as server, server.client() as client:
        job = wait_for(client, job_id, ended)
        assert (job.status, goings_on(client, job_id)) == ("succeeded", 2)
        rows = list(csv.DictReader(client.files.content(job.result_files[0]).text.splitlines()))
        assert [int(row["step"]) for row in rows] == list(range(1, 121))
        assert said(client, job.fine_tuned_model or "") is not None


def goings_on(client: OpenAI, job_id: str) -> int:
    """How often the job has gone on from a checkpoint."""
    events = client.fine_tuning.jobs.list_events(job_id, limit=1000).data
    return sum(event.message.startswith("Fine-tuning job goes on from step") for event in events)
