"""Makes a vector index fit its size, beside the one that is searched (in a process of its own: `__main__.py`).

In this order, as long as something is due: rows of which too many have gone are copied to a new epoch; rows that have
doubled since, or that are found too seldom by now, get new centres; rows that have come since get lists by the centres
that there are. Each result takes its place whole; a process that is killed leaves nothing but work to do again.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rag.vectors import log as files
from rag.vectors.clusters import Clusters, Manifest, Part, emptied, train, write_part
from rag.vectors.recall import fitted_probes
from rag.vectors.rows import Rows

EXACT_ROWS = 16_384
"""So many rows are searched one by one: it takes a millisecond, and is exact."""
GROWTH = 2
PART_SHARE = 1 / 32
MAX_PARTS = 6
MORE_EFFORT = 2
"""Where a search looks at so many times as many rows, more lists or longer ones, the centres no longer fit."""
GONE_SHARE = 0.3


def due(rows: Rows, manifest: Manifest | None) -> str:
    """Name what an index needs: `compact`, `train`, `append`, or nothing."""
    if rows.gone > max(EXACT_ROWS, GONE_SHARE * len(rows.owners)):
        return "compact"
    covered = manifest.parts[-1].end if manifest else 0
    if len(rows.owners) - covered <= max(EXACT_ROWS, PART_SHARE * covered):
        return ""
    if manifest is None or len(rows.owners) >= GROWTH * manifest.parts[0].end:
        return "train"
    return "append"


def build(folder: Path, dimensions: int) -> None:
    """Do what is due in the newest epoch, until nothing is. Another process at it leaves nothing to do here."""
    with contextlib.suppress(Timeout), FileLock(folder / "building", timeout=0):
        _remove_left_over(folder)
        while epoch := files.newest_epoch(folder):
            rows = Rows.read(epoch, dimensions)
            manifest = _readable_manifest(epoch)
            task = due(rows, manifest)
            if task == "compact":
                _compact(folder, epoch, rows)
            elif task == "train" or (task == "append" and manifest is None):
                _train(epoch, rows)
            elif task == "append" and manifest is not None:
                _append(epoch, rows, manifest)
            else:
                return


def _compact(folder: Path, epoch: Path, rows: Rows) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix="partial-", ignore_cleanup_errors=True) as made:
        partial = Path(made) / "epoch"
        files.write_epoch(partial, rows.owners, rows.vectors, rows.live)
        fresh = Rows.read(partial, rows.dimensions)
        if due(fresh, None):
            _train(partial, fresh)
        files.publish_epoch(partial, epoch.with_name(f"{int(epoch.name) + 1:06}"))


def _train(epoch: Path, rows: Rows) -> None:
    index = train(rows.vectors, rows.live)
    part = _written(index, epoch, rows, 0)
    _publish(epoch, rows, (part,), None)


def _append(epoch: Path, rows: Rows, manifest: Manifest) -> None:
    parts = manifest.parts if len(manifest.parts) < MAX_PARTS else manifest.parts[:1]
    part = _written(emptied(epoch / parts[0].file), epoch, rows, parts[-1].end)
    _publish(epoch, rows, (*parts, part), manifest)


def _written(index: Any, epoch: Path, rows: Rows, start: int) -> Part:
    end = len(rows.owners)
    # A name of its own: another process may have the lists of the same rows mapped.
    path = epoch / f"lists-{start}-{end}-{secrets.token_hex(4)}"
    live = rows.live
    write_part(index, path, rows.vectors, live[live >= start])
    return Part(file=path.name, start=start, end=end, size=path.stat().st_size, checksum=checksum(path))


def _publish(epoch: Path, rows: Rows, parts: tuple[Part, ...], before: Manifest | None) -> None:
    clusters = Clusters(epoch, Manifest(parts=parts, probes=1, effort=0.0, recall=0.0))
    probes, recall = fitted_probes(clusters, rows)
    effort = clusters.effort(probes)
    if before and effort > MORE_EFFORT * before.effort:
        _train(epoch, rows)
        return
    named = {part.file for part in parts}
    for name in ("rows", "log", *named):
        _sync(epoch / name)
    Manifest(parts=parts, probes=probes, effort=before.effort if before else effort, recall=recall).write(epoch)
    for path in epoch.glob("lists-*"):
        if path.name not in named:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """See a file to the disk: what is in lists is taken to be whole from then on."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _readable_manifest(epoch: Path) -> Manifest | None:
    try:
        manifest = Manifest.read(epoch)
        _ = manifest and Clusters(epoch, manifest)
    except (ValueError, OSError):
        return None
    return manifest


def _remove_left_over(folder: Path) -> None:
    """Remove what a killed process has half made; only one that holds the lock may."""
    for path in folder.glob("partial-*"):
        shutil.rmtree(path, ignore_errors=True)


def checksum(path: Path) -> int:
    """Give the CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while content := file.read(2**20):
            crc = zlib.crc32(content, crc)
    return crc
