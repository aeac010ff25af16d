"""What a test asks of a server's fine-tuning jobs and does to them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import select

from finetune.errors import TrainerKilled
from finetune.job import TuningJob
from services.storage.paging import PageRequest
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuning import events_after, find_job, list_checkpoints, metrics_of
from services.storage.tuning_tables import TunedModelRow, TuningRow
from services.wiring import Services
from tests.fakes.trainer import FakeTrainer

DEAD = "nowhere:1:1:1"
"""A worker of no process that lives."""


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


def wait_for_checkpoint(services: Services, job_id: str) -> None:
    """Until the worker has written down what the trainer told before."""
    waiting = threading.Event()
    while not checkpoints(services, job_id):
        waiting.wait(0.01)


def wait_until(met: Callable[[], bool]) -> None:
    waiting = threading.Event()
    while not met():
        waiting.wait(0.02)
