"""Fine-tuning jobs whose trainer or worker dies under way; the trainer is scripted."""

import pytest
from sqlalchemy import delete, update

from finetune.errors import TrainingFailed
from finetune.events import Stop
from services.errors import BadRequest
from services.storage.tables import JobRow
from services.storage.tuning_tables import TuningEventRow
from services.wiring import Services
from tests.fakes.trainer import FakeTrainer, create_job, use_fakes
from tests.fakes.tuning_service import (
    DEAD,
    at_step,
    change,
    job,
    killed,
    messages,
    run,
    steps,
    wait_for,
    wait_for_checkpoint,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("quick_workers")


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


def test_failed_job_whose_files_are_gone_cannot_resume(services: Services) -> None:
    use_fakes(services, train=lambda wanted: FakeTrainer(wanted, at=lambda trainer, _step: killed(trainer)))
    job_id = create_job(services)
    run(services)
    services.blobs.delete(job(services, job_id).training_sha256)
    with pytest.raises(BadRequest, match="have been deleted"):
        change(services, job_id, "resume")


def forget_steps(services: Services) -> None:
    with services.database.write() as session:
        session.execute(delete(TuningEventRow).where(TuningEventRow.step.is_not(None)))


def test_steps_that_a_dead_worker_did_not_write_down_are_filled_in(services: Services) -> None:
    def forget(trainer: FakeTrainer) -> None:
        wait_for_checkpoint(services, job_id)
        forget_steps(services)
        killed(trainer)

    use_fakes(services, train=at_step(4, forget))
    job_id = create_job(services)
    run(services)
    assert steps(services, job_id) == [1, 2, 3, 4]


def test_pace_is_told_from_steps_that_were_made_and_not_from_those_recalled(services: Services) -> None:
    def begin_again(trainer: FakeTrainer) -> None:
        wait_until(lambda: 3 in steps(services, job_id))
        estimates.append(job(services, job_id).estimated_finish)
        if len(estimates) == 1:
            forget_steps(services)
            killed(trainer)

    estimates: list[int | None] = []
    use_fakes(
        services,
        train=lambda wanted: FakeTrainer(wanted, at=lambda trainer, step: begin_again(trainer) if step == 4 else None),
    )
    job_id = create_job(services)
    run(services)
    assert estimates[0] is not None
    assert estimates[1:] == [None]
