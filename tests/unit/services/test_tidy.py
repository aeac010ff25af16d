import os
from pathlib import Path

import pytest
from sqlalchemy import select

from services.indexes import FileIndexes
from services.jobs import queue
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.files import delete_file
from services.storage.tables import DEFAULT_PROJECT, FileRow, JobRow, JobState
from services.storage.tuning_tables import TuningRow
from services.tidy import tidy
from services.wiring import Services
from tests.fakes.stored import add_store, live_of, put_file
from tests.fakes.trainer import create_job


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def aged(path: Path) -> Path:
    os.utime(path, (1, 1))
    return path


def test_old_blob_goes_only_when_nothing_names_it(database: Database, blobs: Blobs, tmp_path: Path) -> None:
    named, unnamed, young = (blobs.put(content) for content in (b"named", b"unnamed", b"young"))
    with database.write() as session:
        put_file(session, blob=named)
    for blob in (named, unnamed):
        aged(blobs.path(blob.sha256))
    tidy(database, blobs, FileIndexes(tmp_path / "indexes"))
    assert set(blobs.all()) == {named.sha256, young.sha256}


def test_old_remains_of_a_broken_upload_go(database: Database, blobs: Blobs, tmp_path: Path) -> None:
    blobs.put(b"abc")
    old, young = tmp_path / "blobs" / "partial" / "old", tmp_path / "blobs" / "partial" / "young"
    old.write_bytes(b"")
    young.write_bytes(b"")
    aged(old)
    tidy(database, blobs, FileIndexes(tmp_path / "indexes"))
    assert (old.exists(), young.exists()) == (False, True)


def test_index_goes_with_its_store(database: Database, blobs: Blobs, tmp_path: Path) -> None:
    add_store(database, "vs_there")
    for name in ("vs_there", "vs_gone"):
        (tmp_path / "indexes" / name).mkdir(parents=True)
        aged(tmp_path / "indexes" / name)
    tidy(database, blobs, FileIndexes(tmp_path / "indexes"))
    assert [path.name for path in (tmp_path / "indexes").iterdir()] == ["vs_there"]


def test_index_goes_with_its_generation(database: Database, blobs: Blobs, tmp_path: Path) -> None:
    add_store(database, "vs_there")
    live = str(live_of(database, "vs_there").id)
    for name in (live, "99", "index-of-an-older-loam"):
        (tmp_path / "indexes" / "vs_there" / name).mkdir(parents=True)
        aged(tmp_path / "indexes" / "vs_there" / name)
    tidy(database, blobs, FileIndexes(tmp_path / "indexes"))
    assert [path.name for path in (tmp_path / "indexes" / "vs_there").iterdir()] == [live]


def test_records_of_old_jobs_go_and_live_ones_stay(database: Database, blobs: Blobs, tmp_path: Path) -> None:
    with database.write() as session:
        queue.enqueue(session, DEFAULT_PROJECT, "ingest", ["ended"])
        queue.finish(session, queue.claim(session, "ingest", "me", 1), JobState.SUCCEEDED)
        session.scalars(select(JobRow)).one().finished_at = 1
        queue.enqueue(session, DEFAULT_PROJECT, "ingest", ["live"])
    tidy(database, blobs, FileIndexes(tmp_path / "indexes"))
    with database.read() as session:
        assert session.scalars(select(JobRow.subject)).all() == ["live"]


def test_blob_that_a_fine_tuning_job_is_trained_on_stays_until_the_job_has_ended(services: Services) -> None:
    job_id = create_job(services)
    with services.database.write() as session:
        row = session.scalars(select(TuningRow).where(TuningRow.id == job_id)).one()
        delete_file(session, session.scalars(select(FileRow).where(FileRow.id == row.training_file_id)).one())
    aged(services.blobs.path(row.training_sha256))
    tidy(services.database, services.blobs, services.indexes)
    assert services.blobs.exists(row.training_sha256)
    with services.database.write() as session:
        services.tuning.cancel(session, session.get_one(TuningRow, row.seq))
    tidy(services.database, services.blobs, services.indexes)
    assert not services.blobs.exists(row.training_sha256)
