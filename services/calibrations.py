"""The calibrations of a home: what a model's answers have to have going for them to count, one file each.

A file is of one model and one embedder, as `loam eval calibrate` writes it, and is read again when it changes: a
running server follows. What was made for another engine or source than the model has by now does not count.
"""

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from rag.confidence import Confidence
    from services.engines.router import Route
    from services.wiring import Services

log = logging.getLogger(__name__)


class ModelCalibration(BaseModel):
    """One calibration as it is kept; `balanced_accuracy`, in shares, is that of the questions it was not fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    model: str
    engine: str
    source: str | None = None
    embedder: str
    made_at: int
    collection: str
    questions: int
    answer_share: float
    threshold: float
    intercept: float
    weights: dict[str, float]
    balanced_accuracy: float | None = None


class Calibrations:
    """The files of one folder. Any number of threads may ask."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[tuple[int, int], ModelCalibration | None]] = {}
        self._reading = threading.Lock()

    def find(self, model_id: str, embedder_id: str) -> ModelCalibration | None:
        """Give the calibration of a model with an embedder; None where there is none that this version can use."""
        path = self._path(model_id, embedder_id)
        try:
            changed = path.stat()
        except OSError:
            return None
        key = (changed.st_mtime_ns, changed.st_size)
        with self._reading:
            known = self._read.get(path)
            if known is None or known[0] != key:
                known = self._read[path] = (key, _usable(path))
            return known[1]

    def every(self) -> list[ModelCalibration]:
        """Give all that can be used, by model."""
        found = [_usable(path) for path in sorted(self._folder.glob("*.json"))]
        return [one for one in found if one is not None]

    def save(self, calibration: ModelCalibration) -> Path:
        """Keep a calibration in the place of an earlier one."""
        path = self._path(calibration.model, calibration.embedder)
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_text(calibration.model_dump_json(indent=1), encoding="utf-8")
        beside.replace(path)
        return path

    def remove(self, model_id: str) -> int:
        """Remove the calibrations of a model, with whatever embedder; give how many there were."""
        paths = list(self._folder.glob(f"{_escaped(model_id)}@*.json"))
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _path(self, model_id: str, embedder_id: str) -> Path:
        return self._folder / f"{_escaped(model_id)}@{_escaped(embedder_id)}.json"


def confidence_of(services: "Services", project_id: str, route: "Route") -> "Confidence | None":
    """Give what judges the answers of a model that is calibrated."""
    found = services.calibrations.find(route.model_id, services.embedder.id) if route.generative else None
    if found is None or found.engine != route.engine.name:
        return None
    if found.source != source_of(services, project_id, route.model_id):
        return None
    from rag.confidence import AnswerCalibration, Confidence

    fitted = AnswerCalibration(weights=found.weights, intercept=found.intercept, threshold=found.threshold)
    return Confidence(calibration=fitted, embedder=services.embedder)


def source_of(services: "Services", project_id: str, model_id: str) -> str | None:
    """Give what stands behind a declared model's name; that of a tuned one never changes."""
    declared = services.router.declared(project_id, model_id)
    return None if declared is None else declared.source


def _usable(path: Path) -> ModelCalibration | None:
    from rag.confidence import FEATURES

    try:
        found = ModelCalibration.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as exc:
        log.warning("calibration_unreadable path=%s reason=%s", path, type(exc).__name__)
        return None
    if found.weights.keys() != set(FEATURES):
        log.warning("calibration_outdated path=%s hint=calibrate the model again", path)
        return None
    return found


def _escaped(name: str) -> str:
    return quote(name, safe="")
