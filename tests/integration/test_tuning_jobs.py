"""Fine-tuning jobs from their creation to their end, whatever happens between; the trainer is scripted."""

import csv
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, update

from finetune.adapter import Manifest
from finetune.errors import TrainerKilled, TrainingFailed
from finetune.events import Stop
from finetune.job import TuningJob
from finetune.parity.compare import Parity
from finetune.prepare import Prepared, Preparing, Told
from services.errors import BadRequest
from services.jobs import queue, tasks, training, worker
from services.jobs.tune import Tuned
from services.jobs.worker import Worker
from services.storage.files import delete_file, find_file, let_go
from services.storage.paging import PageRequest
from services.storage.tables import DEFAULT_PROJECT, JobRow, TunedModelRow, TuningRow
from services.storage.tuning import events_after, find_job, list_checkpoints, metrics_of
from services.wiring import Services
from tests.fakes.trainer import FakePreparation, FakeTrainer, create_job, put_training_file, use_fakes

DEAD = "nowhere:1:1:1"
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
    greedy_tokens=8,
    greedy_agreement=1.0,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "BACKOFF_S", 0.0)
    monkeypatch.setattr(training, "TICK_S", 0.02)
    monkeypatch.setattr(worker, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(worker, "POLL_S", 0.02)


def job(services: Services, job_id: str) -> TuningRow:
    with services.database.read() as session:
        found = find_job(session, DEFAULT_PROJECT, job_id)
    assert found is not None
    return found


def messages(services: Services, job_id: str) -> list[str]:
    with services.database.read() as session:
        return [event.message for event in events_after(session, job(services, job_id), 0)]


def steps(services: Services, job_id: str) -> list[int]:
    """The steps that metrics were told of, as they stand."""
    with services.database.read() as session:
        return [values["step"] for values in metrics_of(session, job(services, job_id))]


def checkpoints(services: Services, job_id: str) -> list[str]:
    with services.database.read() as session:
        page = list_checkpoints(session, job(services, job_id), PageRequest(descending=False))
        return [row.model_id for row in page.rows]


def models(services: Services) -> list[str]:
    with services.database.read() as session:
        return list(session.scalars(select(TunedModelRow.id).order_by(TunedModelRow.id)))


def run(services: Services) -> None:
    services.new_tuning_worker().run_until_idle()


def change(services: Services, job_id: str, act: str) -> None:
    """Cancel, pause or resume a job."""
    with services.database.write() as session:
        row = find_job(session, DEFAULT_PROJECT, job_id)
        getattr(services.tuning, act)(session, row)


@contextmanager
def working(services: Services) -> Iterator[threading.Event]:
    """A worker in a thread, until it is told to stop."""
    stop = threading.Event()
    thread = threading.Thread(target=services.new_tuning_worker().run_forever, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def at_step(number: int, act: Callable[[FakeTrainer], None]) -> Callable[[TuningJob], FakeTrainer]:
    """A trainer that does something when it comes to a step, the first time."""
    done = threading.Event()

    def at(trainer: FakeTrainer, step: int) -> None:
        if step == number and not done.is_set():
            done.set()
            act(trainer)

    return lambda wanted: FakeTrainer(wanted, at=at)


def wait_for(trainer: FakeTrainer) -> None:
    assert trainer.asked.wait(10)


def killed(trainer: FakeTrainer) -> None:
    trainer.error = TrainerKilled("The trainer was killed by SIGKILL.")


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


def test_training_that_fails_says_why_and_resumes_from_its_last_checkpoint(services: Services) -> None:
    def fail(trainer: FakeTrainer) -> None:
        trainer.error = TrainingFailed("The disk is full.", code="disk_full", hint="Free some.")

    use_fakes(services, train=at_step(4, fail))
    job_id = create_job(services)
    run(services)
    failed = job(services, job_id)
    assert (failed.status, failed.error_code, failed.error_message) == (
        "failed",
        "disk_full",
        "The disk is full. Free some.",
    )
    change(services, job_id, "resume")
    run(services)
    done = job(services, job_id)
    assert (done.status, done.error_code) == ("succeeded", None)
    assert "It begins after step 2" in messages(services, job_id)


def test_killed_trainer_goes_on_and_each_step_is_told_once(services: Services) -> None:
    use_fakes(services, train=at_step(4, killed))
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "succeeded"
    assert steps(services, job_id) == [1, 2, 3, 4]
    told = messages(services, job_id)
    assert "The trainer was killed by SIGKILL. The job will go on from its last checkpoint." in told
    assert "Fine-tuning job goes on from step 2" in told


def test_training_that_gets_on_between_crashes_is_never_given_up(services: Services) -> None:
    def at(trainer: FakeTrainer, step: int) -> None:
        if step % 2 and step > 1 and not (trainer.job.folder / f"died-{step}").exists():
            (trainer.job.folder / f"died-{step}").touch()
            killed(trainer)

    use_fakes(services, train=lambda wanted: FakeTrainer(wanted, steps=16, every=2, at=at))
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "succeeded"
    assert messages(services, job_id).count("Fine-tuning job started") == 1
    assert steps(services, job_id) == list(range(1, 17))


def test_training_that_dies_three_times_without_a_checkpoint_fails(services: Services) -> None:
    use_fakes(services, train=lambda wanted: FakeTrainer(wanted, at=lambda trainer, _step: killed(trainer)))
    job_id = create_job(services)
    run(services)
    failed = job(services, job_id)
    assert (failed.status, failed.error_message) == ("failed", "The trainer was killed by SIGKILL.")


def test_job_of_a_dead_worker_goes_on_from_its_checkpoint(services: Services) -> None:
    def die(trainer: FakeTrainer) -> None:
        with services.database.write() as session:
            session.execute(update(JobRow).values(owner=DEAD, lease_until=1.0))
        wait_for(trainer)

    use_fakes(services, train=at_step(4, die))
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "succeeded"
    assert "Its worker was killed or broke off, 1 times. The job will go on from its last checkpoint." in messages(
        services, job_id
    )


def test_worker_whose_claim_was_taken_over_writes_nothing_more_and_ends_its_trainer(services: Services) -> None:
    seen: list[Stop | None] = []

    def take_over(trainer: FakeTrainer) -> None:
        wait_for_checkpoint(services, job_id)
        with services.database.write() as session:
            session.execute(update(JobRow).values(token=JobRow.token + 1, owner="another:1:1:1"))
        wait_for(trainer)
        seen.append(trainer.why)
        trainer.why = None

    use_fakes(services, train=at_step(3, take_over))
    job_id = create_job(services)
    late = services.new_tuning_worker()
    for _ in range(2):
        late._work(lambda: False, lambda _finished: None)
    assert seen == [Stop.CANCEL]
    assert job(services, job_id).status == "running"
    assert steps(services, job_id) == [1, 2]


def test_cancelled_training_ends_and_its_checkpoints_are_served(services: Services) -> None:
    def cancel(trainer: FakeTrainer) -> None:
        wait_for_checkpoint(services, job_id)
        change(services, job_id, "cancel")
        wait_for(trainer)

    use_fakes(services, train=at_step(3, cancel))
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "cancelled"
    assert messages(services, job_id)[-1] == "Fine-tuning job cancelled"
    assert models(services) == [f"ft:tiny:default::{job_id[-8:]}:ckpt-step-2"]


def wait_for_checkpoint(services: Services, job_id: str) -> None:
    """Until the worker has written down what the trainer told before."""
    waiting = threading.Event()
    while not checkpoints(services, job_id):
        waiting.wait(0.01)


def test_trainer_that_does_not_follow_a_cancel_is_ended(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CANCEL_GRACE_S", 0.05)

    def cancel(trainer: FakeTrainer) -> None:
        change(services, job_id, "cancel")
        assert trainer.died.wait(10)

    use_fakes(services, train=at_step(3, cancel))
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "cancelled"


def test_paused_training_resumes_from_the_very_step(services: Services) -> None:
    def pause(trainer: FakeTrainer) -> None:
        change(services, job_id, "pause")
        assert job(services, job_id).status == "pausing"
        wait_for(trainer)

    use_fakes(services, train=at_step(4, pause))
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "paused"
    assert "Fine-tuning job paused at step 3" in messages(services, job_id)
    change(services, job_id, "resume")
    assert job(services, job_id).status == "queued"
    run(services)
    assert job(services, job_id).status == "succeeded"
    assert "It begins after step 3" in messages(services, job_id)
    assert steps(services, job_id) == [1, 2, 3, 4]


def test_pause_that_is_taken_back_in_time_is_none(services: Services) -> None:
    def pause(trainer: FakeTrainer) -> None:
        change(services, job_id, "pause")
        wait_for(trainer)
        change(services, job_id, "resume")

    use_fakes(services, train=at_step(3, pause))
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "succeeded"


def test_worker_that_dies_while_a_pause_is_pending_leaves_the_job_paused(services: Services) -> None:
    def die(trainer: FakeTrainer) -> None:
        change(services, job_id, "pause")
        with services.database.write() as session:
            session.execute(update(JobRow).values(owner=DEAD, lease_until=1.0, token=JobRow.token + 1))
        wait_for(trainer)

    use_fakes(services, train=at_step(3, die))
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "paused"
    change(services, job_id, "resume")
    run(services)
    assert job(services, job_id).status == "succeeded"


@pytest.mark.parametrize("act", ["cancel", "pause"])
def test_job_is_stopped_while_its_files_are_checked(services: Services, act: str) -> None:
    preparations: list[FakePreparation] = []

    def prepare(preparing: Preparing) -> FakePreparation:
        preparations.append(FakePreparation(preparing, asked=10**9))
        change(services, job_id, act)
        return preparations[-1]

    use_fakes(services, prepare=prepare)
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == {"cancel": "cancelled", "pause": "paused"}[act]
    assert [preparation.killed for preparation in preparations] == [True]


def test_job_paused_before_its_files_were_checked_has_them_checked_when_it_resumes(services: Services) -> None:
    use_fakes(services)
    job_id = create_job(services)
    change(services, job_id, "pause")
    run(services)
    assert job(services, job_id).status == "paused"
    change(services, job_id, "resume")
    assert job(services, job_id).status == "validating_files"
    run(services)
    assert job(services, job_id).status == "succeeded"


@pytest.mark.parametrize(("act", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_job_is_stopped_while_it_waits_for_the_device(services: Services, act: str, status: str) -> None:
    def second(trainer: FakeTrainer) -> None:
        with working(services):
            wait_until(lambda: "Waiting for another training on cpu to end" in messages(services, waiting))
            change(services, waiting, act)
            wait_until(lambda: not _live(services, waiting))

    use_fakes(services, train=at_step(2, second))
    first = create_job(services)
    waiting = create_job(services)
    services.new_tuning_worker().run_until(lambda: job(services, first).status == "succeeded")
    assert job(services, waiting).status == status


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


def _live(services: Services, job_id: str) -> bool:
    """Whether somebody works on a job or is to."""
    with services.database.read() as session:
        return str(job(services, job_id).seq) in {
            row.subject for row in session.scalars(select(JobRow).where(JobRow.id.in_(queue.live_ids(session))))
        }


def wait_until(met: Callable[[], bool]) -> None:
    waiting = threading.Event()
    while not met():
        waiting.wait(0.02)


def test_worker_that_is_told_to_end_puts_the_job_back_with_a_checkpoint(services: Services) -> None:
    def end(trainer: FakeTrainer) -> None:
        stop.set()
        wait_for(trainer)

    use_fakes(services, train=at_step(4, end))
    job_id = create_job(services)
    with working(services) as stop:
        stop.wait()
    assert job(services, job_id).status == "queued"
    with services.database.read() as session:
        assert session.execute(select(JobRow.state, JobRow.attempts).where(JobRow.kind == "tune")).all() == [
            ("queued", 0)
        ]
    run(services)
    assert job(services, job_id).status == "succeeded"
    assert "It begins after step 3" in messages(services, job_id)


def test_check_that_was_broken_off_by_a_stop_is_done_again(services: Services) -> None:
    def prepare(preparing: Preparing) -> FakePreparation:
        stop.set()
        return FakePreparation(preparing, asked=10**9)

    use_fakes(services, prepare=prepare)
    job_id = create_job(services)
    with working(services) as stop:
        stop.wait()
    assert job(services, job_id).status == "validating_files"
    use_fakes(services)
    run(services)
    assert job(services, job_id).status == "succeeded"


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


def test_failed_job_whose_files_are_gone_cannot_resume(services: Services) -> None:
    use_fakes(services, train=lambda wanted: FakeTrainer(wanted, at=lambda trainer, _step: killed(trainer)))
    job_id = create_job(services)
    run(services)
    services.blobs.delete(job(services, job_id).training_sha256)
    with pytest.raises(BadRequest, match="have been deleted"):
        change(services, job_id, "resume")


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


def test_comparison_is_broken_off_by_a_cancel(services: Services) -> None:
    def compare(_tuned: Tuned, stopped: Callable[[], bool]) -> None:
        change(services, job_id, "cancel")
        stopped()

    use_fakes(services)
    services.compare = compare
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "cancelled"


def test_job_kept_for_one_worker_is_done_by_it_alone(services: Services) -> None:
    use_fakes(services)
    own = services.new_tuning_worker()
    job_id = create_job(services)
    with services.database.write() as session:
        queue.keep_for(session, "validate", str(job(services, job_id).seq), own.owner)
    other = Worker(services.database, list(own._tasks.values()), threading.Event())
    assert not other._work(lambda: False, lambda _finished: None)
    own.run_until(lambda: job(services, job_id).status == "succeeded", subject=str(job(services, job_id).seq))
