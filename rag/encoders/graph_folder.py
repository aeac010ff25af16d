"""Graph folders in the cache: made once by a program of their own, checked, and made anew when damaged.

Torch is loaded by that program alone, never by the process that computes with the graph.
"""

import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FILES = ("graph.xml", "graph.bin", "tokenizer.json")

Loaded = TypeVar("Loaded")


class GraphUnusable(Exception):
    """The model's graph could not be made or is not to be trusted."""


def openvino_is_there() -> bool:
    return importlib.util.find_spec("openvino") is not None


def opened(folder: Path, load: Callable[[Path], Loaded], *, exporter: str, source: Path, precision: str) -> Loaded:
    """Give what `load` makes of a graph folder, which the module `exporter` makes of `source` where it has to.

    `load` raises whatever it likes over a folder that is missing, damaged or computes something else. Raises
    GraphUnusable, and OSError where the cache cannot be written.
    """
    if (loaded := _from_cache(folder, load)) is not None:
        return loaded
    from filelock import FileLock

    with FileLock(folder.with_suffix(".lock")):
        # Another process may have exported it while this one waited.
        if (loaded := _from_cache(folder, load)) is not None:
            return loaded
        _export(exporter, source, folder, precision)
    try:
        return load(folder)
    except Exception as exc:
        raise GraphUnusable(f"the graph cannot be loaded: {exc}") from exc


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a graph folder says of itself. Raises OSError or ValueError when a file is missing, cut or not readable."""
    fields: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    for file, size in fields["sizes"].items():
        if (folder / file).stat().st_size != size:
            raise ValueError(f"{file} has not the {size} bytes that were written")
    return fields


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(fields))


def sizes(folder: Path) -> dict[str, int]:
    """The sizes in bytes of a folder's files, for its manifest."""
    return {name: (folder / name).stat().st_size for name in FILES}


def _from_cache(folder: Path, load: Callable[[Path], Loaded]) -> Loaded | None:
    if not folder.is_dir():
        return None
    try:
        return load(folder)
    except Exception as exc:  # OpenVINO raises all kinds over a damaged file
        log.warning("graph_damaged path=%s reason=%r", folder, str(exc))
        return None


def _export(exporter: str, source: Path, folder: Path, precision: str) -> None:
    """Make the graph folder beside its place and move it there whole."""
    log.info("graph_export source=%s path=%s", source, folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.", ignore_cleanup_errors=True) as made:
        target = Path(made) / "graph"
        target.mkdir()
        done = subprocess.run(  # noqa: S603  # this interpreter, a module of ours, and paths
            [sys.executable, "-m", exporter, str(source), str(target), precision],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"HF_HUB_OFFLINE": "1"},  # all it needs is in the folder
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise GraphUnusable(f"the export failed: {(done.stderr.strip() or str(done.returncode)).splitlines()[-1]}")
        shutil.rmtree(folder, ignore_errors=True)
        target.replace(folder)
