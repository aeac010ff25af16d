from services.jobs.job import LIVE, TRANSITIONS, sources_of
from services.storage.tables import JobState


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_only_queued_and_running_jobs_are_live() -> None:
    assert set(LIVE) == {JobState.QUEUED, JobState.RUNNING}


def test_a_job_is_done_only_by_running() -> None:
    assert sources_of(JobState.SUCCEEDED) == [JobState.RUNNING]
    assert sources_of(JobState.FAILED) == [JobState.RUNNING]
