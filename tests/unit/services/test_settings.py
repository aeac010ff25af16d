from pathlib import Path

import pytest

from services.errors import InvalidSettings
from services.settings import load_settings


def _load(tmp_path, text="", **environment):
    path = tmp_path / "loam.yaml"
    path.write_text(text)
    return load_settings(path, {"LOAM_HOME": str(tmp_path), **environment})


def test_defaults_need_nothing(tmp_path):
    settings = load_settings(None, {"LOAM_HOME": str(tmp_path)})
    assert (settings.host, settings.port, settings.default) == ("127.0.0.1", 8000, "extractive")
    assert settings.database == f"sqlite:///{tmp_path}/loam.db"


def test_environment_wins_over_the_file(tmp_path):
    assert _load(tmp_path, "port: 1\n", LOAM_PORT="2").port == 2


def test_structured_settings_come_from_the_environment_as_json(tmp_path):
    settings = _load(tmp_path, LOAM_ALLOWED_HOSTS='["a", "b"]', LOAM_ALIASES='{"x": {"model": "extractive"}}')
    assert settings.allowed_hosts == ("a", "b")
    assert settings.aliases["x"].model == "extractive"


def test_variables_and_their_defaults_are_put_in(tmp_path):
    settings = _load(tmp_path, "default: ${MODEL}\nport: ${PORT:=99}\n", MODEL="m")
    assert (settings.default, settings.port) == ("m", 99)


def test_variable_without_a_default_must_be_set(tmp_path):
    with pytest.raises(InvalidSettings, match="'MODEL' is not set and has no default"):
        _load(tmp_path, "default: ${MODEL}\n")


def test_every_unknown_key_is_refused_with_its_line(tmp_path):
    with pytest.raises(InvalidSettings) as caught:
        _load(tmp_path, "port: 1\nprot: 2\nmodels:\n  - {id: a, engine: groq, source: b, colour: red}\n")
    assert "line 2: prot: there is no such setting." in str(caught.value)
    assert "line 4: models.0.colour: there is no such setting." in str(caught.value)


def test_wrong_value_of_the_environment_names_its_variable(tmp_path):
    with pytest.raises(InvalidSettings, match="LOAM_PORT"):
        _load(tmp_path, LOAM_PORT="many")


def test_secrets_do_not_show(tmp_path):
    settings = _load(tmp_path, GROQ_API_KEY="gsk-very-secret")
    assert "very-secret" not in repr(settings)


def test_file_that_is_named_must_exist(tmp_path):
    with pytest.raises(InvalidSettings, match="no configuration file"):
        load_settings(Path(tmp_path / "nowhere.yaml"), {})


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "just words"])
def test_file_that_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(InvalidSettings, match=r"loam\.yaml"):
        _load(tmp_path, text)


def test_variable_in_a_comment_need_not_be_set(tmp_path):
    assert _load(tmp_path, "# openai_api_key: ${OPENAI_KEY}\nport: 1\n").port == 1


def test_database_may_come_from_a_variable_or_its_default(tmp_path):
    text = "database_url: ${LOAM_DB:=sqlite:////srv/loam.db}\n"
    assert _load(tmp_path, text).database == "sqlite:////srv/loam.db"
    assert _load(tmp_path, text, LOAM_DB="postgresql://db/loam").database == "postgresql://db/loam"


def test_home_of_a_named_file_holds_unless_the_environment_names_one(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text("home: /srv/loam\n")
    assert load_settings(config, {}).home == Path("/srv/loam")
    assert load_settings(config, {"LOAM_HOME": "/var/loam"}).home == Path("/var/loam")


def test_relative_home_is_below_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {"LOAM_HOME": "here"}).home == tmp_path / "here"


@pytest.mark.parametrize("home", ["null", "3", "[a]"])
def test_home_that_is_no_path_is_refused_with_its_line(tmp_path, home):
    config = tmp_path / "a.yaml"
    config.write_text(f"home: {home}\n")
    with pytest.raises(InvalidSettings, match="line 1: home"):
        load_settings(config, {})


def test_missing_part_of_a_model_is_told_with_the_model_s_line(tmp_path):
    with pytest.raises(InvalidSettings, match=r"line 3: models\.0\.engine"):
        _load(tmp_path, "port: 1\nmodels:\n  - {id: a, source: b}\n")


def test_wrong_value_of_the_environment_is_not_blamed_on_the_file(tmp_path):
    with pytest.raises(InvalidSettings, match="LOAM_PORT: port"):
        _load(tmp_path, "port: 1\n", LOAM_PORT="many")


def test_file_that_is_broken_is_told_without_what_it_holds(tmp_path):
    with pytest.raises(InvalidSettings) as caught:
        _load(tmp_path, "groq_api_key: '${KEY}\nport: [\n", KEY="gsk-very-secret")
    assert "very-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_embedder_is_known_by_its_name(tmp_path):
    assert _load(tmp_path, LOAM_EMBEDDER="/srv/models/all-MiniLM-L6-v2/").embedder_name == "all-MiniLM-L6-v2"
    assert _load(tmp_path, LOAM_EMBEDDER="sentence-transformers/all-MiniLM-L6-v2").embedder_name == "all-MiniLM-L6-v2"


def test_key_that_is_there_twice_is_refused_with_its_line(tmp_path):
    with pytest.raises(InvalidSettings) as caught:
        _load(tmp_path, "aliases:\n  a: {model: extractive}\n  b: {model: extractive}\n  a: {model: b}\n")
    assert str(caught.value) == f"{tmp_path}/loam.yaml, line 4: aliases.a: is there twice."


def test_models_that_cannot_be_together_are_refused_with_their_lines(tmp_path):
    declared = """models:
  - {id: a, engine: groq, source: x, fallbacks: [b]}
  - {id: b, engine: groq, source: x, fallbacks: [a]}
  - {id: a, engine: groq, source: y}
aliases:
  c:
    model: a
    fallbacks: [nobody]
"""
    with pytest.raises(InvalidSettings) as caught:
        _load(tmp_path, declared)
    file = f"{tmp_path}/loam.yaml"
    assert str(caught.value).splitlines() == [
        f"{file}, line 4: models.2.id: the id 'a' is that of models.0 already.",
        f"{file}, line 8: aliases.c.fallbacks.0: there is no model 'nobody' among 'models' that could stand in.",
    ]


def test_models_of_the_environment_are_refused_by_its_variable(tmp_path):
    models = '[{"id": "a", "engine": "groq", "source": "x", "fallbacks": ["a"]}]'
    with pytest.raises(InvalidSettings, match=r"LOAM_MODELS: models\.0\.fallbacks: goes in a circle: a → a"):
        _load(tmp_path, LOAM_MODELS=models)
