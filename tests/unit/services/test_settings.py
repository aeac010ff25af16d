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
