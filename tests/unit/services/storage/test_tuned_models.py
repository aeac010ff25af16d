from dataclasses import replace
from pathlib import Path

from services.storage.database import Database
from services.storage.tuned_models import (
    find_tuned_model,
    list_tuned_models,
    models_over,
    put_tuned_model,
    remove_tuned_model,
)
from tests.fakes.tuned import MANIFEST


def test_a_model_that_is_registered_again_is_replaced(database: Database, tmp_path: Path) -> None:
    for steps in (1, 2):
        with database.write() as session:
            manifest = replace(MANIFEST, steps=steps)
            put_tuned_model(
                session, "default", "ft:a", parent="a", folder=tmp_path, manifest=manifest, job_id="ftjob-1"
            )

    with database.read() as session:
        [row] = list_tuned_models(session, "default")
    assert (row.manifest["steps"], row.kind, row.folder) == (2, "adapter", str(tmp_path))


def test_models_over_a_tuned_one_are_those_whose_base_is_its_folder(database: Database, tmp_path: Path) -> None:
    full = tmp_path / "full"
    with database.write() as session:
        over = replace(MANIFEST, base=str(full))
        put_tuned_model(session, "default", "full", parent="a", folder=full, manifest=replace(MANIFEST, kind="full"))
        put_tuned_model(session, "default", "over", parent="full", folder=tmp_path / "over", manifest=over)

    with database.read() as session:
        assert [row.id for row in models_over(session, full)] == ["over"]


def test_a_removed_model_is_gone_from_its_project_alone(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        row = put_tuned_model(session, "default", "ft:a", parent="a", folder=tmp_path, manifest=MANIFEST)
        assert find_tuned_model(session, "another", "ft:a") is None
        remove_tuned_model(session, row)

    with database.read() as session:
        assert find_tuned_model(session, "default", "ft:a") is None
