"""The composition root: settings in, the parts of the service out, each made when first used."""

import math
import threading
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING

from prompts import Templates
from services import embedding
from services.settings import Settings
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.projects import ensure_default_project

if TYPE_CHECKING:
    from rag.ports import Embedder
    from services.engines.router import Router
    from services.ingestion import Ingestion
    from services.jobs.worker import Worker
    from services.search import Searching


class Services:
    """The parts of one running loam. What is heavy is loaded at its first use, not before."""

    def __init__(self, settings: Settings, load_embedder: Callable[[], "Embedder"] | None = None) -> None:
        self.settings = settings
        self._load_embedder = load_embedder or partial(embedding.load_embedder, settings)
        self.database = Database(settings.database)
        self.blobs = Blobs(settings.blobs_dir)
        self.templates = Templates(settings.prompts_dir)
        self._loading = threading.Lock()

    @cached_property
    def embedder(self) -> "Embedder":
        # From Python 3.12 on cached_property has no lock, and the server warms up while it serves.
        with self._loading:
            if not self.embedder_loaded:
                self.__dict__["embedder"] = self._load_embedder()
            opened: Embedder = self.__dict__["embedder"]
            return opened

    @property
    def embedder_loaded(self) -> bool:
        return "embedder" in self.__dict__

    @cached_property
    def searching(self) -> "Searching":
        from services.search import Searching

        return Searching(self.database, lambda: self.embedder, self.settings.indexes_dir)

    @cached_property
    def ingestion(self) -> "Ingestion":
        from services.ingestion import Ingestion

        return Ingestion(self.database, self.blobs, max_file_bytes=self.settings.max_file_bytes)

    @cached_property
    def router(self) -> "Router":
        from services.engines.extractive import Extractive
        from services.engines.router import Router

        return Router(self.settings, self.database, Extractive(lambda: self.embedder, self.templates))

    def new_worker(self) -> "Worker":
        """Give a worker that is woken by this process's ingestion."""
        from rag.parse import ParseLimits
        from services.jobs.tasks import IngestTask
        from services.jobs.worker import Worker

        limits = ParseLimits(
            file_bytes=self.settings.max_file_bytes,
            seconds=math.ceil(self.settings.parse_timeout_s),
            memory_bytes=self.settings.parse_memory_bytes,
        )
        task = IngestTask(self.database, self.blobs, lambda: self.embedder, limits)
        return Worker(self.database, [task], self.ingestion.bell)

    def start_worker(self, stop: threading.Event) -> threading.Thread:
        """Run a worker beside the caller until `stop` is set."""
        return _started(lambda: self.new_worker().run_forever(stop), "worker")

    def start_upkeep(self, stop: threading.Event) -> threading.Thread:
        """Remove what has expired or was left behind, beside the caller and until `stop` is set."""
        from services.upkeep import keep_up

        return _started(lambda: keep_up(stop, self.database, self.blobs, self.settings.indexes_dir), "upkeep")

    def close(self) -> None:
        """Let go of what is held; nothing waits in memory to be saved."""
        self.database.close()


def _started(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name)
    thread.start()
    return thread


def open_services(settings: Settings, load_embedder: Callable[[], "Embedder"] | None = None) -> Services:
    """Make the home if it is not there, bring its database up to date and give the parts.

    `load_embedder` gives the embedder at its first use; by default it is the one that the settings name.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    services = Services(settings, load_embedder)
    services.database.migrate(settings.home / "migrate.lock")
    ensure_default_project(services.database)
    return services
