from pathlib import Path

import pytest

from finetune.errors import ModelUnavailable
from finetune.model import Base
from finetune.source import license_of, locate


@pytest.mark.parametrize(
    ("card", "license_name"),
    [
        ("---\nlicense: apache-2.0\ntags: [a]\n---\n# Model\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: qwen-research\n---\n", "qwen-research"),
        ("---\nlicense: [unfinished\n---\n", None),
        ("---\nlicense: mit\n", None),
        ("# license: mit\n", None),
        ("---\n- a list\n---\n", None),
        ("", None),
    ],
)
def test_the_licence_is_what_the_card_names(tmp_path: Path, card: str, license_name: str | None) -> None:
    (tmp_path / "README.md").write_text(card)
    assert license_of(tmp_path) == license_name


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    source = locate(Base(source=str(tmp_path)))
    assert (source.folder, source.revision, source.license) == (tmp_path, None, None)


def test_a_snapshot_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "0123abc"
    snapshot.mkdir()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    assert locate(Base(source="some/model")).revision == "0123abc"


@pytest.mark.parametrize("source", ["/no/such/place", "no-owner/no-model"])
def test_a_model_that_is_nowhere_is_said_to_be(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable, match=f"The model {source!r} cannot be found"):
        locate(Base(source=source))
