"""What an embedder's name stands for when it is to be tuned, and what may be named over HTTP."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.errors import BadRequest
from services.models import Tunable, resolve_embedder
from services.settings import Settings
from services.storage.database import Database
from services.storage.tuned_models import put_tuned_model
from tests.fakes.tuned import MANIFEST

OFFLINE = "huggingface_hub.constants.HF_HUB_OFFLINE"


def embedder_at(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("modules.json", "model.safetensors"):
        (folder / name).write_text("[]")
    return folder


@pytest.fixture
def own(home: Path, database: Database) -> Path:
    return embedder_at(home / "models" / "own")


@pytest.fixture
def settings(home: Path, own: Path) -> Settings:
    return Settings(home=home, embedder=str(own))


def resolved(settings: Settings, database: Database, model: str, *, over_http: bool = True) -> Tunable:
    return resolve_embedder(settings, database, "default", model, over_http=over_http)


def test_the_settings_embedder_is_named_as_it_is_listed(settings: Settings, database: Database, own: Path) -> None:
    found = resolved(settings, database, "own")
    assert (found.base.source, found.root, found.parent_id) == (str(own), "own", None)


def test_a_tuned_embedder_is_gone_on_from_and_keeps_its_root(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    with database.write() as session:
        manifest = replace(MANIFEST, kind="embedder")
        put_tuned_model(session, "default", "ft:own:default::1", parent="own", folder=tmp_path, manifest=manifest)
    found = resolved(settings, database, "ft:own:default::1")
    assert (found.base.source, found.base.adapter, found.root) == (str(tmp_path), None, "own")
    assert found.parent_id == "ft:own:default::1"


def test_a_tuned_model_that_chats_is_refused(settings: Settings, database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        put_tuned_model(session, "default", "ft:chat:default::1", parent="chat", folder=tmp_path, manifest=MANIFEST)
    with pytest.raises(BadRequest, match="of the kind 'adapter': it makes no embeddings"):
        resolved(settings, database, "ft:chat:default::1")


def test_a_directory_is_taken_and_over_http_only_from_below_the_model_roots(
    settings: Settings, database: Database, home: Path, tmp_path: Path
) -> None:
    inside, outside = embedder_at(home / "models" / "mine"), embedder_at(tmp_path / "else" / "where")
    assert resolved(settings, database, "mine").base.source == str(inside)
    found = resolved(settings, database, str(outside), over_http=False)
    assert (found.base.source, found.root) == (str(outside), "where")
    with pytest.raises(BadRequest, match="not a directory below LOAM_MODEL_ROOTS"):
        resolved(settings, database, str(outside))


def test_a_directory_without_an_embedder_is_refused(settings: Settings, database: Database, home: Path) -> None:
    (home / "models" / "empty").mkdir()
    with pytest.raises(BadRequest, match="holds no embedding model"):
        resolved(settings, database, "empty")


def test_the_hub_is_only_hoped_for_where_it_can_be_reached(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OFFLINE, False)
    assert resolved(settings, database, "someone/embedder").base.source == "someone/embedder"
    monkeypatch.setattr(OFFLINE, True)
    with pytest.raises(BadRequest, match="is no directory, not in the Hugging Face cache"):
        resolved(settings, database, "someone/embedder")
