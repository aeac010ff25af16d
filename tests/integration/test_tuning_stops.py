"""Fine-tuning jobs that are cancelled, paused, resumed or put back; the trainer is scripted."""

from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from finetune.prepare import Preparing
from services.jobs import queue, training
from services.jobs.tune import Tuned
from services.storage.tables import JobRow
from services.wiring import Services
from tests.fakes.trainer import FakePreparation, FakeTrainer, create_job, use_fakes
from tests.fakes.tuning_service import (
    DEAD,
    at_step,
    change,
    job,
    messages,
    models,
    run,
    steps,
    wait_for,
    wait_for_checkpoint,
    wait_until,
    working,
)

pytestmark = pytest.mark.usefixtures("quick_workers")


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


def test_comparison_is_broken_off_by_a_cancel(services: Services) -> None:
    def compare(_tuned: Tuned, stopped: Callable[[], bool]) -> None:
        change(services, job_id, "cancel")
        stopped()

    use_fakes(services)
    services.compare = compare
    job_id = create_job(services)
    run(services)
    assert job(services, job_id).status == "cancelled"


def _live(services: Services, job_id: str) -> bool:
    """Whether somebody works on a job or is to."""
    with services.database.read() as session:
        return str(job(services, job_id).seq) in {
            row.subject for row in session.scalars(select(JobRow).where(JobRow.id.in_(queue.live_ids(session))))
        }
