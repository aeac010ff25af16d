"""Where a base's files are: a directory as it is, or a hub's snapshot of one revision, which is fetched if need be."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from finetune.errors import ModelUnavailable, sentence_of
from finetune.model import Base

FENCE = "---"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The folder of a model's files. `revision` is the commit of a hub's snapshot, `license` what its card says."""

    folder: Path
    revision: str | None
    license: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Which of a hub's files a `kind` of model consists of, as patterns."""

    kind: str
    wanted: tuple[str, ...]
    unused: tuple[str, ...]


MODEL = Files(
    kind="model",
    wanted=("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "README.md", "LICENSE*"),
    unused=("*/*",),
)


def locate(base: Base, files: Files = MODEL) -> Source:
    """Find the files of a base, without its adapter. Raises ModelUnavailable."""
    folder, revision = Path(base.source).expanduser(), None
    if not folder.is_dir():
        folder = _snapshot(base, files)
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


def _snapshot(base: Base, files: Files) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            base.source,
            revision=base.revision,
            allow_patterns=[*files.wanted],
            ignore_patterns=[*files.unused],
        )
    except (OSError, ValueError) as exc:
        raise ModelUnavailable(
            f"The {files.kind} {base.source!r} cannot be found: {sentence_of(exc)}",
            hint="Give a directory with the model's files, or a hub id that can be reached or is in the cache.",
        ) from exc
    return Path(folder)
