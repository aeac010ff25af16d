from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.errors import BadRequest
from services.jobs import queue
from services.storage.tables import DEFAULT_PROJECT, JobRow
from services.storage.tuning import events_after
from services.storage.tuning_tables import ENDED_TUNINGS, TuningRow, TuningStatus
from services.tuning import TRANSITIONS, checkpoint_name, model_name, move
from services.wiring import Services
from tests.fakes.trainer import create_job

S = TuningStatus


@pytest.fixture
def session(services: Services) -> Iterator[Session]:
    job_id = create_job(services)
    with services.database.write() as session:
        session.info["job"] = session.scalars(select(TuningRow).where(TuningRow.id == job_id)).one()
        yield session


@pytest.fixture
def row(session: Session) -> TuningRow:
    found: TuningRow = session.info["job"]
    return found


def live(session: Session) -> list[tuple[str, str]]:
    """The kind and state of what is in the queue."""
    return [tuple(one) for one in session.execute(select(JobRow.kind, JobRow.state).where(JobRow.state == "queued"))]


def in_state(row: TuningRow, status: TuningStatus) -> None:
    row.status = status
    row.settings = {"settled": True}


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(TuningStatus)


def test_every_state_but_ends_can_be_cancelled() -> None:
    assert {status for status, following in TRANSITIONS.items() if S.CANCELLED not in following} == ENDED_TUNINGS


def test_every_state_is_reached() -> None:
    assert set().union(*TRANSITIONS.values()) | {S.VALIDATING_FILES} == set(TuningStatus)


def test_end_has_its_time_and_no_wish_and_no_estimate(row: TuningRow) -> None:
    row.status, row.wanted, row.estimated_finish = S.PAUSING, "pause", 1
    move(row, S.SUCCEEDED)
    assert (row.status, row.wanted, row.estimated_finish) == ("succeeded", None, None)
    assert row.finished_at is not None


def test_way_that_is_none_is_refused_with_the_state(row: TuningRow) -> None:
    row.status = S.SUCCEEDED
    with pytest.raises(BadRequest, match="has already ended: it has succeeded") as refused:
        move(row, S.RUNNING)
    assert (refused.value.param, refused.value.code) == ("fine_tuning_job_id", "invalid_job_state")


@pytest.mark.parametrize("status", [S.VALIDATING_FILES, S.QUEUED, S.RUNNING, S.PAUSING, S.PAUSED])
def test_cancelled_job_leaves_the_queue(
    services: Services, session: Session, row: TuningRow, status: TuningStatus
) -> None:
    in_state(row, status)
    services.tuning.cancel(session, row)
    assert (row.status, live(session)) == ("cancelled", [])


@pytest.mark.parametrize(
    ("act", "status"),
    [("cancel", S.CANCELLED), ("pause", S.PAUSED), ("pause", S.PAUSING), ("resume", S.RUNNING), ("resume", S.QUEUED)],
)
def test_what_is_so_already_may_be_asked_for_again(
    services: Services, session: Session, row: TuningRow, act: str, status: TuningStatus
) -> None:
    in_state(row, status)
    before = len(events_after(session, row, 0))
    getattr(services.tuning, act)(session, row)
    assert (row.status, len(events_after(session, row, 0))) == (status, before)


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("cancel", S.SUCCEEDED),
        ("cancel", S.FAILED),
        ("pause", S.SUCCEEDED),
        ("pause", S.CANCELLED),
        ("resume", S.SUCCEEDED),
        ("resume", S.CANCELLED),
    ],
)
def test_what_has_ended_is_refused(
    services: Services, session: Session, row: TuningRow, act: str, status: TuningStatus
) -> None:
    in_state(row, status)
    with pytest.raises(BadRequest, match="already ended"):
        getattr(services.tuning, act)(session, row)


def test_training_is_asked_to_pause_and_waiting_jobs_pause_at_once(
    services: Services, session: Session, row: TuningRow
) -> None:
    in_state(row, S.RUNNING)
    services.tuning.pause(session, row)
    assert (row.status, row.wanted) == ("pausing", "pause")
    in_state(row, S.QUEUED)
    services.tuning.pause(session, row)
    assert (row.status, live(session)) == ("paused", [])


@pytest.mark.parametrize("status", [S.PAUSED, S.FAILED])
def test_resumed_job_waits_for_its_device(
    services: Services, session: Session, row: TuningRow, status: TuningStatus
) -> None:
    services.tuning.pause(session, row)
    in_state(row, status)
    row.error_code, row.error_message, row.finished_at = "disk_full", "The disk is full.", 1
    services.tuning.resume(session, row)
    assert (row.status, live(session)) == ("queued", [("tune", "queued")])
    assert (row.error_code, row.error_message, row.finished_at) == (None, None, None)


def test_job_whose_files_were_refused_cannot_resume(services: Services, session: Session, row: TuningRow) -> None:
    row.status = S.FAILED
    with pytest.raises(BadRequest, match="cannot become validating_files"):
        services.tuning.resume(session, row)


def test_job_that_waits_is_kept_for_who_resumes_it(services: Services, session: Session, row: TuningRow) -> None:
    services.tuning.resume(session, row, owner="me:1:1:1")
    assert queue.claim(session, "validate", "other:1:1:1", 1) == []
    assert [job.subject for job in queue.claim(session, "validate", "me:1:1:1", 1)] == [str(row.seq)]


def named(row: TuningRow, suffix: str | None) -> str:
    row.suffix = suffix
    return model_name(row).replace(row.id[-8:], "ID")


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        (None, "ft:tiny:default::ID"),
        ("cook", "ft:tiny:default:cook:ID"),
        ("my cook: v2/final", "ft:tiny:default:my-cook-v2-final:ID"),
        ("köche", "ft:tiny:default:köche:ID"),
        (" / ", "ft:tiny:default::ID"),
    ],
)
def test_model_is_named_as_openai_names_them(row: TuningRow, suffix: str | None, name: str) -> None:
    assert named(row, suffix) == name


def test_checkpoint_is_named_after_the_model_and_its_step(row: TuningRow) -> None:
    assert checkpoint_name(row, 12) == f"{model_name(row)}:ckpt-step-12"


def test_job_says_what_it_was_made_of(row: TuningRow, session: Session, services: Services) -> None:
    assert (row.project_id, row.model, row.status) == (DEFAULT_PROJECT, "tiny", "validating_files")
    assert row.base == str(services.settings.model_folders[0] / "tiny")
    assert isinstance(row.tuning["seed"], int)
    assert live(session) == [("validate", "queued")]
