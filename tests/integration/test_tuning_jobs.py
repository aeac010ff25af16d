"""Fine-tuning jobs from their creation to their end; the trainer is scripted."""

import csv
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.adapter import Manifest
from finetune.errors import TrainingFailed
from finetune.job import TuningJob
from finetune.parity.compare import Parity
from finetune.prepare import Prepared, Told
from services.jobs import queue
from services.jobs.tune import Tuned
from services.jobs.worker import Worker
from services.storage.files import delete_file, find_file, let_go
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuning_tables import TunedModelRow
from services.wiring import Services
from tests.fakes.trainer import FakePreparation, FakeTrainer, create_job, put_training_file, use_fakes
from tests.fakes.tuning_service import at_step, checkpoints, job, messages, models, run, steps, wait_until, working

pytestmark = pytest.mark.usefixtures("quick_workers")

PARITY = Parity(
    passed=True,
    reasons=(),
    dtype="float32",
    tolerance=1e-4,
    sequences=4,
    identical=4,
    learned_tokens=20,
    mean_logprob_difference=1e-6,
    max_logprob_difference=1e-5,
    kl_per_token=1e-9,
    greedy_tokens=8,
    greedy_agreement=1.0,
)


def test_job_succeeds_and_says_how(services: Services) -> None:
    use_fakes(services)
    job_id = create_job(services, suffix="my cook")
    run(services)
    done = job(services, job_id)
    name = f"ft:tiny:default:my-cook:{job_id[-8:]}"
    assert (done.status, done.fine_tuned_model, done.trained_tokens) == ("succeeded", name, 40)
    assert (done.error_code, done.estimated_finish, done.wanted) == (None, None, None)
    assert done.finished_at is not None
    told = messages(services, job_id)
    assert told[:4] == [
        f"Created fine-tuning job: {job_id}",
        f"Validating training file: {done.training_file_id}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    assert "Step 3/4: training loss=0.3333" in told
    assert "Checkpoint created at step 2" in told
    assert told[-2:] == [f"New fine-tuned model created: {name}", "The job has successfully completed"]
    assert steps(services, job_id) == [1, 2, 3, 4]
    assert checkpoints(services, job_id) == [f"{name}:ckpt-step-2", f"{name}:ckpt-step-4"]
    assert models(services) == [name, f"{name}:ckpt-step-2", f"{name}:ckpt-step-4"]


def test_what_was_measured_is_a_file(services: Services) -> None:
    use_fakes(services)
    job_id = create_job(services)
    run(services)
    with services.database.read() as session:
        file = find_file(session, DEFAULT_PROJECT, job(services, job_id).result_file_id or "")
    assert file is not None
    assert file.purpose == "fine-tune-results"
    rows = list(csv.DictReader(services.blobs.read(file.sha256).decode().splitlines()))
    assert list(rows[0])[:5] == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert [(row["step"], row["train_accuracy"], row["valid_loss"]) for row in rows] == [
        ("1", "0.25", ""),
        ("2", "0.5", ""),
        ("3", "0.75", ""),
        ("4", "1.0", ""),
    ]


def test_trainer_is_given_what_was_settled_and_the_bytes_of_the_files(services: Services) -> None:
    given: list[TuningJob] = []

    def train(wanted: TuningJob) -> FakeTrainer:
        given.append(wanted)
        return FakeTrainer(wanted)

    use_fakes(services, train=train)
    job_id = create_job(services, validation_file=put_training_file(services, b"{}\n"))
    run(services)
    row = job(services, job_id)
    assert given[0].settings.seed == row.tuning["seed"]
    assert (given[0].settings.n_epochs, given[0].device, given[0].name) == (3, "cpu", row.fine_tuned_model)
    assert given[0].training_file == services.blobs.path(row.training_sha256)
    assert given[0].validation_file == services.blobs.path(row.validation_sha256 or "")
    assert given[0].folder == services.settings.tuning_dir / job_id


def test_file_with_problems_fails_the_job_and_every_problem_is_told(services: Services) -> None:
    told = tuple(
        Told(
            part="training_file",
            severity=severity,
            code=code,
            field="",
            text=f"Lines {code}.",
            count=3,
            lines=(1, 2, 3),
        )
        for severity, code in (("error", "json"), ("error", "media"), ("warning", "duplicate"))
    )
    found = Prepared(device="cpu", errors=6, warnings=3, wrong="training_file", told=told, untold=2)
    use_fakes(services, prepare=lambda preparing: FakePreparation(preparing, found))
    job_id = create_job(services)
    run(services)
    failed = job(services, job_id)
    assert (failed.status, failed.error_code, failed.error_param) == (
        "failed",
        "invalid_training_file",
        "training_file",
    )
    assert failed.error_message == (
        "The job failed due to an invalid training file: 6 errors. Lines json. Lines media. "
        "The job's events list all that was found."
    )
    assert messages(services, job_id)[2:6] == [
        "Training file: Lines json.",
        "Training file: Lines media.",
        "Training file: Lines duplicate.",
        "2 more kinds of problems were found; 'loam finetune check' lists them all.",
    ]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("unavailable_model", ("model_not_available", "model")),
        ("no_chat_template", ("no_chat_template", "model")),
        ("invalid_max_length", ("invalid_value", "max_length")),
        ("failed", ("training_failed", None)),
    ],
)
def test_check_that_fails_says_what_is_at_fault(services: Services, code: str, told: tuple[str, str | None]) -> None:
    error = TrainingFailed("There is no such thing.", code=code, hint="Name another.")
    use_fakes(services, prepare=lambda preparing: FakePreparation(preparing, error))
    job_id = create_job(services)
    run(services)
    failed = job(services, job_id)
    assert (failed.error_code, failed.error_param) == told
    assert failed.error_message == "There is no such thing. Name another."


def test_one_training_runs_on_a_device_at_a_time(services: Services) -> None:
    under_way: list[int] = []
    most: list[int] = []

    def at(trainer: FakeTrainer, step: int) -> None:
        under_way.extend([1] if step == 1 else [])
        most.append(len(under_way))
        if step == trainer.steps:
            under_way.pop()

    use_fakes(services, train=lambda wanted: FakeTrainer(wanted, at=at))
    jobs = [create_job(services) for _ in range(3)]
    with working(services), working(services), working(services):
        wait_until(lambda: all(job(services, one).status == "succeeded" for one in jobs))
    assert max(most) == 1


def test_files_are_checked_while_another_job_trains(services: Services) -> None:
    def wait(_trainer: FakeTrainer) -> None:
        second.append(create_job(services))
        wait_until(lambda: job(services, second[0]).status == "queued")

    second: list[str] = []
    use_fakes(services, train=at_step(2, wait))
    first = create_job(services)
    stop = threading.Event()
    threads = services.start_workers(stop)
    wait_until(lambda: job(services, first).status == "succeeded")
    wait_until(lambda: job(services, second[0]).status == "succeeded")
    stop.set()
    for thread in threads:
        thread.join()


def test_bytes_of_a_deleted_file_stay_until_the_job_has_ended(services: Services) -> None:
    use_fakes(services)
    job_id = create_job(services)
    sha256 = job(services, job_id).training_sha256
    with services.database.write() as session:
        file = find_file(session, DEFAULT_PROJECT, job(services, job_id).training_file_id)
        assert file is not None
        delete_file(session, file)
    let_go(services.database, services.blobs, [sha256])
    assert services.blobs.exists(sha256)
    run(services)
    assert job(services, job_id).status == "succeeded"
    let_go(services.database, services.blobs, [sha256])
    assert not services.blobs.exists(sha256)


def test_parity_is_kept_with_the_job_the_model_and_its_folder(services: Services) -> None:
    compared: list[Tuned] = []

    def compare(tuned: Tuned, _stopped: Callable[[], bool]) -> Parity:
        compared.append(tuned)
        assert tuned.model_id in models(services)
        return PARITY

    use_fakes(services)
    services.compare = compare
    job_id = create_job(services)
    run(services)
    done = job(services, job_id)
    with services.database.read() as session:
        model = session.get_one(TunedModelRow, (DEFAULT_PROJECT, done.fine_tuned_model))
    assert (done.parity, model.manifest["parity"]) == (PARITY.public(), PARITY.public())
    assert Manifest.read(Path(model.folder)).parity == PARITY.public()
    assert PARITY.sentence() in messages(services, job_id)


def test_comparison_that_fails_is_told_and_fails_no_job(services: Services) -> None:
    def compare(_tuned: Tuned, _stopped: Callable[[], bool]) -> None:
        raise TrainingFailed("Serving does not answer.")

    use_fakes(services)
    services.compare = compare
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "succeeded"
    assert "Serving could not be compared with training: Serving does not answer." in messages(services, job_id)


def test_job_kept_for_one_worker_is_done_by_it_alone(services: Services) -> None:
    use_fakes(services)
    own = services.new_tuning_worker()
    job_id = create_job(services)
    with services.database.write() as session:
        queue.keep_for(session, "validate", str(job(services, job_id).seq), own.owner)
    other = Worker(services.database, list(own._tasks.values()), threading.Event())
    assert not other._work(lambda: False, lambda _finished: None)
    own.run_until(lambda: job(services, job_id).status == "succeeded", subject=str(job(services, job_id).seq))
