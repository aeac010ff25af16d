from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session

from finetune.events import Metrics
from services.storage.paging import PageRequest
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuning import (
    add_message,
    events_after,
    last_step,
    list_checkpoints,
    list_events,
    list_jobs,
    metrics_of,
    record_checkpoint,
    record_metrics,
)
from services.storage.tuning_tables import TuningRow
from services.wiring import Services
from tests.fakes.trainer import create_job


@pytest.fixture
def session(services: Services) -> Iterator[Session]:
    create_job(services)
    with services.database.write() as session:
        yield session


@pytest.fixture
def job(session: Session) -> TuningRow:
    return session.query(TuningRow).one()


def measured(step: int, **values: float) -> Metrics:
    return Metrics(step=step, total_steps=9, epoch=step / 9, values=values, tokens=10 * step)


def test_step_that_is_told_again_stands_where_it_stood(session: Session, job: TuningRow) -> None:
    record_metrics(session, job, measured(1, train_loss=2.0))
    add_message(session, job, "between")
    record_metrics(session, job, measured(1, train_loss=1.0))
    told = [event.message for event in events_after(session, job, 0)][-2:]
    assert told == ["Step 1/9: training loss=1.0000", "between"]
    assert [values["train_loss"] for values in metrics_of(session, job)] == [1.0]


def test_what_is_measured_later_of_a_step_is_added(session: Session, job: TuningRow) -> None:
    record_metrics(session, job, measured(1, train_loss=2.0))
    record_metrics(session, job, measured(1, valid_loss=3.0))
    (values,) = metrics_of(session, job)
    assert (values["train_loss"], values["valid_loss"]) == (2.0, 3.0)
    assert events_after(session, job, 0)[-1].message == "Step 1/9: training loss=2.0000, validation loss=3.0000"


def test_what_is_no_number_is_said_and_not_kept(session: Session, job: TuningRow) -> None:
    record_metrics(session, job, measured(1, train_loss=float("nan"), grad_norm=float("inf")))
    (values,) = metrics_of(session, job)
    assert values == {"step": 1, "total_steps": 9, "epoch": 1 / 9, "tokens": 10}
    assert events_after(session, job, 0)[-1].message == "Step 1/9: training loss=nan"


def test_steps_are_measured_in_their_order(session: Session, job: TuningRow) -> None:
    for step in (1, 3, 2):
        record_metrics(session, job, measured(step, train_loss=1.0))
    assert [values["step"] for values in metrics_of(session, job)] == [1, 2, 3]


def test_checkpoint_of_a_step_is_kept_once(session: Session, job: TuningRow) -> None:
    assert record_checkpoint(session, job, step=4, model_id="m", values={"train_loss": 2.0})
    assert not record_checkpoint(session, job, step=4, model_id="m", values={"train_loss": 1.0})
    (kept,) = list_checkpoints(session, job, PageRequest()).rows
    assert (kept.step, kept.metrics) == (4, {"train_loss": 1.0})
    assert last_step(session, job) == 4


def test_job_without_a_checkpoint_begins_at_its_beginning(session: Session, job: TuningRow) -> None:
    assert last_step(session, job) == 0


def test_events_are_paged_newest_first(session: Session, job: TuningRow) -> None:
    for number in range(3):
        add_message(session, job, str(number))
    first = list_events(session, job, PageRequest(limit=2))
    assert ([event.message for event in first.rows], first.has_more) == (["2", "1"], True)
    second = list_events(session, job, PageRequest(limit=9, after=first.rows[-1].id))
    assert (second.rows[0].message, second.has_more) == ("0", False)


def test_jobs_are_found_by_what_their_metadata_hold(services: Services, session: Session, job: TuningRow) -> None:
    job.request = {**job.request, "metadata": {'a "strange" $.key': "v"}}

    def found(key: str) -> list[str]:
        page = list_jobs(session, DEFAULT_PROJECT, PageRequest(), wanted=lambda given: key in (given or {}))
        return [row.id for row in page.rows]

    assert (found('a "strange" $.key'), found("other")) == ([job.id], [])
