"""What a model's name stands for when it is to be tuned."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from finetune.adapter import Manifest
from finetune.model import Base
from services.errors import BadRequest
from services.settings import ModelSettings, Quantization, Settings
from services.storage.database import Database
from services.storage.models import added_settings, find_model
from services.storage.tuned_models import find_tuned_model
from services.storage.tuning_tables import TunedModelRow

PATH_STARTS: Final = ("/", "./", "../", "~")
_HUB_ID = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunable:
    """A model that can be tuned: its weights, and `root`, the short name of its root base.

    Of a tuned model that is gone on from, `parent_id` is its name and `manifest` what it was made from: a job inherits
    its quantization and dtype. `quantization` and `dtype` are else those that a declared model is served in, if any.
    """

    base: Base
    root: str
    parent_id: str | None = None
    manifest: Manifest | None = None
    quantization: Quantization | None = None
    dtype: str | None = None


def resolve_base(settings: Settings, database: Database, project_id: str, model: str, *, over_http: bool) -> Tunable:
    """Find the model that a tuning names: a tuned, declared or added one, a directory, or a hub id.

    Over HTTP a directory is only taken from below the model roots, and may be named from there. Whether a hub has the
    model is looked up only in the cache. Raises BadRequest.
    """
    name = settings.default if model == "default" else model
    alias = settings.aliases.get(name)
    name = alias.model if alias else name
    declared = {known.id: known for known in settings.models}
    with database.read() as session:
        tuned, added = find_tuned_model(session, project_id, name), find_model(session, project_id, name)
    if name in declared:
        return _of_declared(declared[name])
    if added is not None:
        return _of_declared(added_settings(added))
    if tuned is not None:
        return _of_tuned(tuned)
    if name in (settings.embedder_name, "extractive"):
        raise _refused(f"The model {model!r} is not one that can be tuned.")
    folder = _allowed_directory(name, settings.model_folders) if over_http else directory_of(name)
    return _of_directory(folder, name) if folder is not None else _of_hub(name)


def resolve_embedder(
    settings: Settings, database: Database, project_id: str, model: str, *, over_http: bool
) -> Tunable:
    """Find the embedder that a tuning names: the settings' own, a tuned one, a directory, or a hub id.

    Over HTTP a directory is only taken from below the model roots. Raises BadRequest.
    """
    with database.read() as session:
        tuned = find_tuned_model(session, project_id, model)
    if tuned is not None:
        if tuned.kind != "embedder":
            raise _refused(f"The model {model!r} is of the kind {tuned.kind!r}: it makes no embeddings.")
        manifest = Manifest(**tuned.manifest)
        return Tunable(base=Base(source=tuned.folder), root=_root(tuned), parent_id=tuned.id, manifest=manifest)
    if model in (settings.embedder_name, settings.embedder):
        return Tunable(base=_embedder_base(settings.embedder), root=_short(settings.embedder_name))
    folder = _allowed_directory(model, settings.model_folders) if over_http else directory_of(model)
    base = _embedder_base(str(folder) if folder else model)
    return Tunable(base=base, root=_short(model.rstrip("/").rpartition("/")[2]))


def local_source(source: str) -> str:
    """Give the source of a local model as it is kept: a directory in full, so that it is found from anywhere.

    Raises BadRequest for what is neither a directory with a model nor a hub id.
    """
    folder = directory_of(source)
    if folder is not None:
        return _of_directory(folder, source).base.source
    if not _HUB_ID.fullmatch(source):
        raise _refused(f"{source!r} is neither a directory nor a hub id such as 'Qwen/Qwen3-4B'.")
    return source


def _of_declared(model: ModelSettings) -> Tunable:
    if not model.is_weights:
        raise _refused(f"The model {model.id!r} is served by {model.engine}: loam tunes models whose weights it has.")
    folder = directory_of(model.source)
    found = _of_directory(folder, model.source) if folder is not None else _of_hub(model.source)
    return Tunable(base=found.base, root=_short(model.id), quantization=model.quantization, dtype=model.dtype)


def _of_tuned(row: TunedModelRow) -> Tunable:
    if row.kind not in ("adapter", "full"):
        raise _refused(f"The model {row.id!r} is of the kind {row.kind!r}, which cannot be tuned further.")
    manifest = Manifest(**row.manifest)
    folder = Path(row.folder)
    base = Base(source=str(folder))
    if row.kind == "adapter":
        base = Base(source=manifest.base, revision=manifest.base_revision, adapter=folder)
    return Tunable(base=base, root=_root(row), parent_id=row.id, manifest=manifest)


def _root(row: TunedModelRow) -> str:
    """ft:{root}:{org}:{suffix}:{id}: the root stays the same however often a model is gone on from."""
    return row.id.split(":")[1] if row.id.startswith("ft:") else _short(row.parent)


def _embedder_base(source: str) -> Base:
    from rag.encoders.embed_source import find_folder
    from rag.errors import EmbedderUnavailable

    try:
        return Base(source=str(find_folder(source, download=False)))
    except EmbedderUnavailable as exc:
        if "/" in source and not Path(source).is_absolute() and _HUB_ID.fullmatch(source) and _on_hub(source):
            return Base(source=source)
        raise _refused(str(exc)) from exc


def _of_directory(folder: Path, name: str) -> Tunable:
    if not (folder / "config.json").is_file():
        raise _refused(f"The directory {name!r} holds no model: it has no config.json.")
    return Tunable(base=Base(source=str(folder)), root=_short(folder.name))


def _of_hub(name: str) -> Tunable:
    if not _HUB_ID.fullmatch(name) or not _on_hub(name):
        raise _refused(
            f"The model {name!r} does not exist: name a model of 'GET /v1/models' that is local or tuned, "
            "a directory, or a hub id such as 'Qwen/Qwen3-4B'."
        )
    return Tunable(base=Base(source=name), root=_short(name.rpartition("/")[2]))


def _on_hub(name: str) -> bool:
    """Say whether it may be there. The old ids without an owner are taken from the cache alone: most are misspelt."""
    from huggingface_hub import constants, try_to_load_from_cache

    try:
        cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # not a name that the hub would give
        return False
    return cached or ("/" in name and not constants.HF_HUB_OFFLINE)


def directory_of(source: str) -> Path | None:
    """Give the directory that a source names, None if it is to be a hub id. Raises BadRequest where there is none."""
    folder = Path(source).expanduser()
    if _is_directory(folder):
        return folder.resolve()
    if source.startswith(PATH_STARTS):
        raise _refused(f"There is no directory {source!r}.")
    return None


def _allowed_directory(name: str, roots: Iterable[Path]) -> Path | None:
    """Look for a directory below the roots. Of what lies elsewhere nothing is said, not even whether it is there."""
    for root in roots:
        if _is_directory(root / name) and (root / name).resolve().is_relative_to(root.resolve()):
            return (root / name).resolve()
    # transformers would take a directory of the server's own working directory for a hub id of that name.
    if name.startswith(PATH_STARTS) or _is_directory(Path(name)):
        raise _refused(f"{name!r} is not a directory below LOAM_MODEL_ROOTS, where those named over HTTP must be.")
    return None


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, or with a NUL
        return False


def _short(name: str) -> str:
    return _NOT_IN_NAMES.sub("-", name).strip("-") or "model"


def _refused(message: str) -> BadRequest:
    return BadRequest(message, param="model", code="model_not_available")
