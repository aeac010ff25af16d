"""What a name stands for when it is to be tuned, and what may be named over HTTP."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.errors import BadRequest
from services.models import Tunable, resolve_base
from services.settings import AliasSettings, ModelSettings, Settings
from services.storage.database import Database
from services.storage.models import add_model
from services.storage.tuned_models import put_tuned_model
from tests.fakes.tuned import MANIFEST


@pytest.fixture
def base(home: Path, database: Database) -> Path:
    return model_at(home / "models" / "tiny")


@pytest.fixture
def settings(home: Path, base: Path) -> Settings:
    declared = ModelSettings(id="own", engine="local", source=str(base), quantization="nf4")
    hosted = ModelSettings(id="llama", engine="groq", source="llama-3.3")
    aliases = {"gardener": AliasSettings(model="own")}
    return Settings(home=home, models=(declared, hosted), aliases=aliases, default="own")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def model_at(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def resolved(settings: Settings, database: Database, model: str, *, over_http: bool = True) -> Tunable:
    return resolve_base(settings, database, "default", model, over_http=over_http)


@pytest.mark.parametrize("name", ["own", "default", "gardener"])
def test_a_declared_model_is_named_by_its_id_or_an_alias(
    settings: Settings, database: Database, base: Path, name: str
) -> None:
    found = resolved(settings, database, name)

    assert (found.base.source, found.root, found.quantization) == (str(base), "own", "nf4")


def test_an_added_model_is_tuned_like_a_declared_one(settings: Settings, database: Database, base: Path) -> None:
    with database.write() as session:
        add_model(session, "default", "mine", engine="local", source=str(base), options={}, taken=())

    assert resolved(settings, database, "mine").root == "mine"


def test_a_tuned_model_is_gone_on_from_over_its_own_base(settings: Settings, database: Database, home: Path) -> None:
    tuned = "ft:tiny:default:garden:1"
    with database.write() as session:
        put_tuned_model(session, "default", tuned, parent="own", folder=home / "a", manifest=MANIFEST)
        full = replace(MANIFEST, kind="full")
        put_tuned_model(session, "default", "ft:tiny:default::2", parent=tuned, folder=home / "f", manifest=full)

    adapter = resolved(settings, database, tuned)
    assert (adapter.base.source, adapter.base.adapter) == (MANIFEST.base, home / "a")
    assert (adapter.root, adapter.parent_id, adapter.manifest) == ("tiny", tuned, MANIFEST)
    whole = resolved(settings, database, "ft:tiny:default::2")
    assert (whole.base.source, whole.base.adapter, whole.root) == (str(home / "f"), None, "tiny")


@pytest.mark.parametrize("kind", ["reward", "embedder"])
def test_what_writes_no_text_is_not_gone_on_from(settings: Settings, database: Database, home: Path, kind: str) -> None:
    with database.write() as session:
        manifest = replace(MANIFEST, kind=kind)
        put_tuned_model(session, "default", "ft:x:default::1", parent="own", folder=home, manifest=manifest)

    with pytest.raises(BadRequest, match=kind):
        resolved(settings, database, "ft:x:default::1")


def test_over_http_a_directory_is_taken_from_below_a_root_alone(
    settings: Settings, database: Database, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = model_at(tmp_path / "elsewhere" / "secret")
    (base.parent / "link").symlink_to(outside)
    monkeypatch.chdir(outside.parent.parent)

    assert resolved(settings, database, str(base)).base.source == str(base)
    assert resolved(settings, database, "tiny").base.source == str(base)
    for name in (str(outside), str(base.parent / "link"), "../../elsewhere/secret", "elsewhere/secret", "/nowhere"):
        with pytest.raises(BadRequest, match="below LOAM_MODEL_ROOTS"):
            resolved(settings, database, name)
    assert resolved(settings, database, str(outside), over_http=False).base.source == str(outside)


def test_the_roots_are_a_setting(settings: Settings, database: Database, tmp_path: Path) -> None:
    other = model_at(tmp_path / "other" / "m")
    settings = settings.model_copy(update={"model_roots": (tmp_path / "other",)})

    assert resolved(settings, database, "m").base.source == str(other)


@pytest.mark.parametrize(
    "name",
    ["gpt-none", "llama", "extractive", "all-MiniLM-L6-v2", "a/b/c", "a b", "", "x\0", "x" * 5000, "ft:a:b::c", "."],
)
@pytest.mark.parametrize("over_http", [True, False])
def test_what_cannot_be_tuned_is_refused_by_name(
    settings: Settings, database: Database, name: str, over_http: bool
) -> None:
    with pytest.raises(BadRequest) as refused:
        resolved(settings, database, name, over_http=over_http)

    assert (refused.value.param, refused.value.code) == ("model", "model_not_available")


def test_a_hub_id_is_taken_at_its_word_where_the_hub_can_be_asked(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolved(settings, database, "Qwen/Qwen3-4B")
    assert (found.base.source, found.root) == ("Qwen/Qwen3-4B", "Qwen3-4B")

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadRequest):
        resolved(settings, database, "Qwen/Qwen3-4B")


def test_a_directory_without_a_model_is_refused(settings: Settings, database: Database, home: Path) -> None:
    (home / "models" / "empty").mkdir(parents=True)

    with pytest.raises(BadRequest, match=r"no config\.json"):
        resolved(settings, database, "empty")
