"""deploy/env.example names every setting, and what it shows is accepted."""

import re
from pathlib import Path

from services.settings import Settings, load_settings

EXAMPLE = (Path(__file__).parents[2] / "deploy" / "env.example").read_text(encoding="utf-8")
ASSIGNMENT = re.compile(r"^# ([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
WITHOUT_PREFIX = {"GROQ_API_KEY", "OPENAI_API_KEY"}


def setting(variable: str) -> str:
    return variable.lower() if variable in WITHOUT_PREFIX else variable.removeprefix("LOAM_").lower()


def test_every_setting_is_in_env_example_and_nothing_else_is() -> None:
    assert {setting(variable) for variable, _ in ASSIGNMENT.findall(EXAMPLE)} == Settings.model_fields.keys()


def test_every_setting_has_its_sentence() -> None:
    undescribed = [
        match[1]
        for match in ASSIGNMENT.finditer(EXAMPLE)
        if not re.search(r"# [^=\n]*\n$|# .*[.,]\n$", EXAMPLE[: match.start()])
    ]
    assert undescribed == []


def test_what_env_example_shows_is_accepted(tmp_path: Path) -> None:
    environment = dict(ASSIGNMENT.findall(EXAMPLE)) | {"LOAM_HOME": str(tmp_path)}
    assert load_settings(environment=environment).aliases["handbook"].model == "llama-70b"


def test_what_env_example_calls_a_default_is_the_default(tmp_path: Path) -> None:
    examples = {"LOAM_MODELS", "LOAM_ALIASES", "LOAM_ALLOWED_HOSTS", "LOAM_ALLOWED_ORIGINS"}
    shown = {name: value for name, value in ASSIGNMENT.findall(EXAMPLE) if name not in examples}
    home = {"LOAM_HOME": str(tmp_path)}
    assert load_settings(environment=shown | home) == load_settings(environment=home)
