"""The embedders of one running loam: the one that the settings name, those they named before, and tuned ones."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import EmbedderMismatch, EmbedderUnavailable
from services.errors import BadRequest
from services.storage.database import Database
from services.storage.models import TUNED_PREFIX
from services.storage.tuned_models import find_tuned_model
from services.storage.vector_stores import is_made_with, mismatch

if TYPE_CHECKING:
    from rag.ports import Embedder
    from services.wiring import Services

EMBEDDER = "embedder"
"""The kind of a model that makes embeddings."""


class Embedders:
    """Gives embedders by name. Each is opened when it is first asked for, and kept."""

    def __init__(
        self,
        database: Database,
        default: "Callable[[], Embedder]",
        open_folder: "Callable[[Path, str], Embedder]",
        open_other: "Callable[[str], Embedder] | None" = None,
    ) -> None:
        """`open_folder` opens a tuned one from its folder, under its name; `open_other` one that the settings named."""
        self._database = database
        self._default = default
        self._open_folder = open_folder
        self._open_other = open_other
        self._opened: dict[Path | str, Embedder] = {}
        self._opening = threading.Lock()

    def named(self, project_id: str, name: str) -> "Embedder":
        """Give the embedder that a store names. Raises EmbedderMismatch where it is not to be had, EmbedderUnavailable.

        Where the settings name another one by now, the store is searched with its own until it is made anew.
        """
        if not name.startswith(TUNED_PREFIX):
            default = self._default()
            return default if is_made_with(name, default) else self._other(name, default)
        folder = self._folder(project_id, name)
        if folder is None:
            raise EmbedderMismatch(
                f"There is no tuned embedder {name!r}.", hint="'loam models list' shows those there are."
            )
        with self._opening:
            if folder not in self._opened:
                self._opened[folder] = self._open_folder(folder, name)
            return self._opened[folder]

    def _other(self, name: str, default: "Embedder") -> "Embedder":
        with self._opening:
            if name not in self._opened:
                if self._open_other is None:
                    raise mismatch(name, default)
                try:
                    self._opened[name] = self._open_other(name)
                except EmbedderUnavailable as exc:
                    raise mismatch(name, default) from exc
            return self._opened[name]

    def _folder(self, project_id: str, name: str) -> Path | None:
        with self._database.read() as session:
            row = find_tuned_model(session, project_id, name)
        return Path(row.folder) if row is not None and row.kind == EMBEDDER else None


def embedder_setting(services: "Services", project_id: str, model: str) -> str:
    """Give the name that a store keeps of a listed embedder. Raises NotFound, BadRequest, EmbedderUnavailable."""
    listed_embedder(services, project_id, model)
    return services.settings.embedder if model == services.settings.embedder_name else model


def listed_embedder(services: "Services", project_id: str, model: str) -> "Embedder":
    """Give the embedder that is listed among the models under that name. Raises NotFound, BadRequest."""
    own = services.settings.embedder_name
    if model == own:
        return services.embedder
    if services.router.model(project_id, model).kind != EMBEDDER:
        raise BadRequest(f"The model {model!r} makes no embeddings: {own!r} does.", param="model")
    return services.embedders.named(project_id, model)
