from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from prompts import Templates
from services.engines.extractive import Extractive
from services.engines.local.models import LocalModels
from services.engines.router import Router
from services.engines.upstreams import upstream_of
from services.engines.vllm.servers import VllmServers
from services.errors import BadRequest, NotFound
from services.settings import AliasSettings, ModelSettings, Settings
from services.storage.database import Database
from services.storage.models import add_model, remove_model
from services.storage.tuned_models import put_tuned_model
from tests.fakes.embedder import WordEmbedder
from tests.fakes.tuned import MANIFEST

DECLARED = ModelSettings(id="llama", engine="groq", source="llama-3.3-70b-versatile")
ADDED = {"engine": "openai", "source": "own-model", "options": {"base_url": "http://own/v1"}}


@pytest.fixture
def router(database: Database, settings: Settings, templates: Templates) -> Router:
    changes = {
        "groq_api_key": SecretStr("gsk_secret"),
        "models": (DECLARED,),
        "aliases": {"handbook": AliasSettings(model="default"), "loop": AliasSettings(model="handbook")},
        "default": "llama",
    }
    local_models = LocalModels(most_bases=1, most_waiting=1)
    changed = settings.model_copy(update=changes)
    vllm_servers = VllmServers(changed)
    return Router(changed, database, Extractive(WordEmbedder, templates), lambda: local_models, lambda: vllm_servers)


def test_default_and_aliases_name_what_answers(router: Router) -> None:
    assert router.resolve("default", "default").model_id == "llama"
    route = router.resolve("default", "handbook")
    assert (route.model_id, route.engine.name, route.generative) == ("llama", "groq", True)
    assert route.alias is not None
    assert not router.resolve("default", "extractive").generative


@pytest.mark.parametrize("name", ["none", "groq/", "loop", ""])
def test_an_unknown_name_is_not_found(router: Router, name: str) -> None:
    with pytest.raises(NotFound) as missing:
        router.resolve("default", name)

    assert missing.value.code == "model_not_found"


def test_an_embedder_cannot_chat(router: Router) -> None:
    with pytest.raises(BadRequest, match="embeddings"):
        router.resolve("default", "all-MiniLM-L6-v2")


def test_an_added_model_answers_at_once_and_only_in_its_project(router: Router, database: Database) -> None:
    with database.write() as session:
        add_model(session, "default", "own", taken=router.taken(), **ADDED)

    assert router.resolve("default", "own").engine.name == "openai"
    assert "own" in {model.id for model in router.models("default")}
    with pytest.raises(NotFound):
        router.resolve("another", "own")
    with database.write() as session:
        assert remove_model(session, "default", "own")
    with pytest.raises(NotFound):
        router.resolve("default", "own")


@pytest.mark.parametrize("taken", ["default", "extractive", "all-MiniLM-L6-v2", "llama", "handbook"])
def test_a_name_that_is_taken_is_refused(router: Router, database: Database, taken: str) -> None:
    with pytest.raises(BadRequest, match=taken), database.write() as session:
        add_model(session, "default", taken, taken=router.taken(), **ADDED)


def test_a_name_is_added_once(router: Router, database: Database) -> None:
    with database.write() as session:
        add_model(session, "default", "own", taken=router.taken(), **ADDED)

    with pytest.raises(BadRequest, match="already"), database.write() as session:
        add_model(session, "default", "own", taken=router.taken(), **ADDED)


def test_loam_yaml_wins_over_what_was_added(router: Router, database: Database) -> None:
    with database.write() as session:
        add_model(session, "default", "llama", taken=(), **ADDED)

    assert router.resolve("default", "llama").engine.name == "groq"
    assert [model.engine for model in router.models("default") if model.id == "llama"] == ["groq"]


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (None, "https://api.groq.com/openai/v1/chat/completions"),
        ("http://proxy/", "http://proxy/openai/v1/chat/completions"),
        ("http://proxy/openai/v1", "http://proxy/openai/v1/chat/completions"),
    ],
)
def test_groq_is_where_its_sdk_would_look(base: str | None, url: str) -> None:
    settings = Settings(groq_api_key=SecretStr("gsk_secret"), groq_base_url=base)

    assert upstream_of(DECLARED, settings).url == url


def test_a_key_is_sent_only_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(openai_api_key=SecretStr("sk-secret"))
    model = ModelSettings(id="own", engine="openai", source="m", base_url="http://own/v1")
    assert upstream_of(model, settings).key is None
    assert upstream_of(model.model_copy(update={"base_url": None}), settings).key == SecretStr("sk-secret")

    monkeypatch.setenv("OWN_KEY", "own-secret")
    assert upstream_of(model.model_copy(update={"api_key_env": "OWN_KEY"}), settings).key == SecretStr("own-secret")


def test_without_its_key_an_upstream_is_off() -> None:
    for model, variable in (
        (DECLARED, "GROQ_API_KEY"),
        (DECLARED.model_copy(update={"engine": "openai"}), "OPENAI_API_KEY"),
    ):
        with pytest.raises(BadRequest, match=variable):
            upstream_of(model, Settings())


def test_a_model_has_one_gate_and_made_up_names_share_theirs(router: Router) -> None:
    gate = router.resolve("default", "llama").gate
    assert router.resolve("default", "handbook").gate is gate
    assert router.resolve("default", "groq/a").gate is router.resolve("default", "groq/b").gate is not gate
    assert {one.model_id for one in router.gates()} == {"llama", "groq/*"}


def test_a_vllm_that_runs_is_at_hand_and_one_that_is_not_set_up_is_refused(router: Router, database: Database) -> None:
    with database.write() as session:
        add_model(
            session, "default", "theirs", engine="vllm", source="m", options={"base_url": "http://own/v1"}, taken=()
        )
        add_model(session, "default", "mine", engine="vllm", source="/models/m", options={}, taken=())

    assert router.resolve("default", "theirs").engine.name == "vllm"
    assert router.tokenizer_of("default", "theirs") is None
    with pytest.raises(BadRequest, match="make vllm"):
        router.resolve("default", "mine")


@pytest.mark.parametrize(
    ("manifest", "parent", "engine"),
    [
        ({}, "fast", "vllm"),
        ({}, "ft:fast:default::0", "vllm"),
        ({"quantization": "nf4"}, "fast", "local"),
        ({"kind": "full"}, "fast", "local"),
        ({}, "remote", "local"),
        ({}, "a/hub-id", "local"),
    ],
)
def test_a_tuned_model_is_served_where_its_base_is_closest(
    router: Router, database: Database, manifest: dict[str, str], parent: str, engine: str
) -> None:
    with database.write() as session:
        add_model(session, "default", "fast", engine="vllm", source="/models/m", options={}, taken=())
        options = {"base_url": "http://own/v1"}
        add_model(session, "default", "remote", engine="vllm", source="m", options=options, taken=())
        first = replace(MANIFEST, quantization="none")
        put_tuned_model(session, "default", "ft:fast:default::0", parent="fast", folder=Path("/a"), manifest=first)
        made = replace(MANIFEST, **manifest)
        put_tuned_model(session, "default", "ft:fast:default::1", parent=parent, folder=Path("/b"), manifest=made)

    assert router.model("default", "ft:fast:default::1").engine == engine
