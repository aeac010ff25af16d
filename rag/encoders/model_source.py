"""Where a model's weights lie, and what they hash to.

A model is named as a directory, a hub id, or one that comes as a Python package.
"""

import hashlib
import importlib.util
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import RagError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model's folder. `weights` is the sha256 of its weights, `settings` of all its JSON files."""

    name: str
    folder: Path
    weights: str
    settings: str

    @property
    def id(self) -> str:
        """The same on every machine, whatever precision its CPU is best at: the vectors of a text differ by rounding
        alone (cosine .9999 in bf16, .998 in int8), so a home may move and an index may hold both."""
        return f"{self.name}@{self.weights[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of model: what it is called, and what its folder must be. `error` is raised where there is none.

    `organisation` is whose model a name without one is; `packages` give the Python package that a hub id comes as, and
    the folder in it.
    """

    called: str
    holds: str
    needs: str
    organisation: str
    is_model: Callable[[Path], bool]
    error: type[RagError]
    packages: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def locate(kind: Kind, source: str, *, cache_dir: Path, download: bool, name: str | None = None) -> ModelSource:
    """The model named `source`, or in the directory of that name. Raises the kind's error.

    `name` is what it is to be called, by default what the source calls it.
    """
    folder = locate_folder(kind, source, download=download)
    own = Path(source).resolve().name if Path(source).is_dir() else source.rpartition("/")[2]
    return ModelSource(
        name=name or own,
        folder=folder,
        weights=_weights_hash(folder, cache_dir / "hashes"),
        settings=_sha256(sorted(folder.rglob("*.json"))),
    )


def locate_folder(kind: Kind, source: str, *, download: bool) -> Path:
    """Where the model named `source` lies. Raises the kind's error."""
    if Path(source).is_dir():
        if not _is_whole(kind, Path(source)):
            raise kind.error(f"The directory {source!r} holds no {kind.holds}.", hint=kind.needs)
        return Path(source).resolve()
    repo = source if "/" in source else f"{kind.organisation}/{source}"
    for place in (_in_hub_cache, _in_package, *([_downloaded] if download else [])):
        folder = place(kind, repo)
        if folder and _is_whole(kind, folder):
            return folder
    raise kind.error(
        f"The {kind.called} {source!r} is no directory, not in the Hugging Face cache and not in an installed package"
        + (", and could not be downloaded." if download else "."),
        hint=f"Give a directory, or fetch it: hf download {repo}",
    )


def _is_whole(kind: Kind, folder: Path) -> bool:
    return kind.is_model(folder) and bool(_weight_files(folder))


def _weight_files(folder: Path) -> list[Path]:
    """Safetensors if there are any, as sentence-transformers prefers them; a Dense module has a folder of its own."""
    for pattern in ("*.safetensors", "pytorch_model*.bin"):
        if files := sorted([*folder.glob(pattern), *folder.glob(f"[0-9]*_*/{pattern}")]):
            return files
    return []


def _in_hub_cache(_kind: Kind, repo: str) -> Path | None:
    # The constants alone: the hub's own look-up imports an HTTP client, ten times the cost of this.
    from huggingface_hub.constants import HF_HUB_CACHE

    home = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    try:
        return home / "snapshots" / (home / "refs" / "main").read_text().strip()
    except OSError:
        return None


def _in_package(kind: Kind, repo: str) -> Path | None:
    package, folder = kind.packages.get(repo, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    return Path(spec.origin).parent / folder if spec and spec.origin else None


def _downloaded(kind: Kind, repo: str) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, ignore_patterns=["onnx/*", "openvino/*", "*.h5", "*.ot", "*.msgpack"]))
    except Exception as exc:  # the hub raises its own, httpx's and OSError: each means "not to be had"
        log.warning("model_not_downloaded kind=%s repo=%s reason=%r", kind.called, repo, exc)
        return None


def _weights_hash(folder: Path, memory: Path) -> str:
    """The weights' sha256, remembered by path, size and time: hashing 90 MB at each start would be felt."""
    files = _weight_files(folder)
    seen = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    note = memory / hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32]
    try:
        return bytes.fromhex(note.read_text()).hex()
    except (OSError, ValueError):
        digest = _sha256(files)
        with suppress(OSError):  # Where nothing can be kept it is hashed each time.
            write_atomically(note, digest)
        return digest


def _sha256(files: list[Path]) -> str:
    """A single file's own sha256, so that it equals the one the hub shows; of several, that of their digests."""
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Whoever reads `path` sees all of `text` or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    Path(temporary).replace(path)
