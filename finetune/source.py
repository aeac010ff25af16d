"""Where a base's files are: a directory as it is, or a hub's snapshot of one revision, which is fetched if need be."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from finetune.errors import ModelUnavailable
from finetune.model import Base

WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "README.md", "LICENSE*")
FENCE = "---"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The folder of a model's files. `revision` is the commit of a hub's snapshot, `license` what its card says."""

    folder: Path
    revision: str | None
    license: str | None


def locate(base: Base) -> Source:
    """Find the files of a base, without its adapter. Raises ModelUnavailable."""
    folder, revision = Path(base.source).expanduser(), None
    if not folder.is_dir():
        folder = _snapshot(base)
        revision = folder.name
    return Source(folder=folder, revision=revision, license=license_of(folder))


def license_of(folder: Path) -> str | None:
    """Give the licence that a model's README names, None where it names none."""
    try:
        lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
        end = lines.index(FENCE, 1) if lines[:1] == [FENCE] else 0
        card = yaml.safe_load("\n".join(lines[1:end])) or {}
        # The hub's own list of licences has `other` for all that are not in it, with their name beside.
        name = card.get("license_name") if card.get("license") == "other" else card.get("license")
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return None
    return str(name) if name else None


def _snapshot(base: Base) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(base.source, revision=base.revision, allow_patterns=[*WANTED], ignore_patterns=["*/*"])
        )
    except (OSError, ValueError) as exc:
        line = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise ModelUnavailable(
            f"The model {base.source!r} cannot be found: {line}",
            hint="Give a directory with the model's files, or a hub id that can be reached or is in the cache.",
        ) from exc
