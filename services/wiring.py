"""The composition root: settings in, the parts of the service out, each made when first used."""

import math
import threading
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING

from prompts import Templates
from services import embedding, reranking
from services.calibrations import Calibrations
from services.embedders import Embedders
from services.errors import InvalidSettings
from services.settings import Settings
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.projects import ensure_default_project

if TYPE_CHECKING:
    from rag.encoders.cross_entail import CrossEntailment
    from rag.encoders.cross_rerank import CrossReranker
    from rag.ports import Embedder
    from services.engines.local.models import LocalModels
    from services.engines.router import Router
    from services.engines.vllm.servers import VllmServers
    from services.generations import Generations
    from services.graphing import Drawing
    from services.indexes import Indexes
    from services.ingestion import Ingestion
    from services.jobs.tune import Compare, StartTrainer, TuneTask
    from services.jobs.validate import StartPreparing, ValidateTask
    from services.jobs.worker import Worker
    from services.search import Searching
    from services.tuning import TuningJobs


class Services:
    """The parts of one running loam. What is heavy is loaded at its first use, not before."""

    def __init__(self, settings: Settings, load_embedder: Callable[[], "Embedder"] | None = None) -> None:
        self.settings = settings
        self._load_embedder = load_embedder or partial(embedding.load_embedder, settings)
        self.database = Database(settings.database)
        self.blobs = Blobs(settings.blobs_dir)
        self.templates = Templates(settings.prompts_dir)
        self.calibrations = Calibrations(settings.calibrations_dir)
        self._loading = threading.Lock()
        self._loading_local = threading.Lock()

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
    def embedders(self) -> Embedders:
        return Embedders(
            self.database,
            lambda: self.embedder,
            partial(embedding.open_tuned, self.settings),
            partial(embedding.open_named, self.settings),
        )

    @cached_property
    def reranker(self) -> "CrossReranker | None":
        """What reorders the best hits, where the settings name it. Raises CrossEncoderUnavailable."""
        with self._loading:
            if "reranker" not in self.__dict__:
                self.__dict__["reranker"] = reranking.load_reranker(self.settings)
            opened: CrossReranker | None = self.__dict__["reranker"]
            return opened

    @cached_property
    def entailment(self) -> "CrossEntailment | None":
        """What judges whether a source says so, where the settings name it. Raises CrossEncoderUnavailable."""
        with self._loading:
            if "entailment" not in self.__dict__:
                self.__dict__["entailment"] = reranking.load_entailment(self.settings)
            opened: CrossEntailment | None = self.__dict__["entailment"]
            return opened

    @cached_property
    def indexes(self) -> "Indexes":
        """Where the indexes of stores are kept. Raises InvalidSettings, DatabaseUnavailable."""
        wanted = self.settings.indexes
        if wanted == "database" and not self.database.is_postgres:
            raise InvalidSettings("LOAM_INDEXES is database, which only PostgreSQL can do: set LOAM_DATABASE_URL.")
        from services.indexes import FileIndexes

        if wanted == "files" or not self.database.is_postgres:
            return FileIndexes(self.settings.indexes_dir)
        from services.storage.postgres.indexes import PostgresIndexes, pgvector_version

        if wanted is None and pgvector_version(self.database) is None:
            return FileIndexes(self.settings.indexes_dir)
        return PostgresIndexes(self.database)

    @cached_property
    def searching(self) -> "Searching":
        from services.search import Searching

        return Searching(self.database, self.embedders, self.indexes, lambda: self.reranker)

    @cached_property
    def ingestion(self) -> "Ingestion":
        from services.ingestion import Ingestion

        return Ingestion(self.database, self.blobs, max_file_bytes=self.settings.max_file_bytes)

    @cached_property
    def generations(self) -> "Generations":
        from services.generations import Generations

        return Generations(self.database)

    @cached_property
    def drawing(self) -> "Drawing":
        from services.graphing import Drawing

        return Drawing(self.templates, self.settings.graph_model, lambda: self.router)

    @cached_property
    def tuning(self) -> "TuningJobs":
        from services.tuning import TuningJobs

        return TuningJobs(self.settings, self.database, self.blobs)

    @cached_property
    def start_preparing(self) -> "StartPreparing":
        from finetune.processes.prepare_process import start

        return start

    @cached_property
    def start_trainer(self) -> "StartTrainer":
        from finetune.processes.process import start

        return start

    @cached_property
    def compare(self) -> "Compare":
        from services.parity import prove_tuned

        return partial(prove_tuned, self)

    @cached_property
    def router(self) -> "Router":
        from services.engines.extractive import Extractive
        from services.engines.router import Router

        extractive = Extractive(lambda: self.embedder, self.templates)
        return Router(self.settings, self.database, extractive, lambda: self.local_models, lambda: self.vllm_servers)

    @cached_property
    def local_models(self) -> "LocalModels":
        # From Python 3.12 on cached_property has no lock, and two sets of models would not share a base.
        with self._loading_local:
            if "local_models" not in self.__dict__:
                self.__dict__["local_models"] = self._new_local_models()
            made: LocalModels = self.__dict__["local_models"]
            return made

    @cached_property
    def vllm_servers(self) -> "VllmServers":
        from services.engines.vllm.servers import VllmServers

        # Of two threads that come here at once, both get the set of servers that was there first.
        made: VllmServers = self.__dict__.setdefault("vllm_servers", VllmServers(self.settings))
        return made

    def _new_local_models(self) -> "LocalModels":
        from services.engines.local.loaded import Limits
        from services.engines.local.models import LocalModels

        limits = Limits(most_at_once=self.settings.local_slots, adapter_bytes=self.settings.local_adapter_bytes)
        return LocalModels(
            most_bases=self.settings.local_bases, most_waiting=self.settings.local_waiting, limits=limits
        )

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
        task = IngestTask(self.database, self.blobs, self.embedders, limits, self.drawing)
        return Worker(self.database, [task], self.ingestion.bell)

    def new_tuning_worker(self) -> "Worker":
        """Give a worker that does all of a fine-tuning job by itself."""
        from services.jobs.worker import Worker

        return Worker(self.database, [self._validate_task(keeps=True), self._tune_task()], threading.Event())

    def new_index_worker(self) -> "Worker":
        """Give a worker that makes generations of stores' indexes."""
        from services.jobs.index import IndexTask
        from services.jobs.worker import Worker

        kept = self.settings.index_generations_kept
        task = IndexTask(self.database, self.embedders, self.indexes, self.drawing, kept=kept)
        return Worker(self.database, [task], self.generations.bell)

    def start_workers(self, stop: threading.Event) -> list[threading.Thread]:
        """Run workers beside the caller until `stop` is set.

        Each has a thread of its own, so that none waits for another: not an ingestion for an index, nor both for a
        training.
        """
        from services.jobs.worker import Worker

        checking = Worker(self.database, [self._validate_task()], threading.Event())
        training = Worker(self.database, [self._tune_task()], threading.Event())
        workers = {
            "worker": self.new_worker(),
            "indexing": self.new_index_worker(),
            "checking": checking,
            "training": training,
        }
        return [_started(partial(worker.run_forever, stop), name) for name, worker in workers.items()]

    def _validate_task(self, *, keeps: bool = False) -> "ValidateTask":
        from services.jobs.validate import ValidateTask

        folders, device = self.settings.tuning_dir, self.settings.tuning_device
        return ValidateTask(self.database, self.blobs, folders, self.start_preparing, device, keeps=keeps)

    def _tune_task(self) -> "TuneTask":
        from services.jobs.tune import TuneTask
        from services.negatives import supply_negatives

        folders, device = self.settings.tuning_dir, self.settings.tuning_device
        supply = partial(supply_negatives, self)
        return TuneTask(self.database, self.blobs, folders, self.start_trainer, device, supply, self.compare)

    def start_upkeep(self, stop: threading.Event) -> threading.Thread:
        """Remove what has expired or was left behind, beside the caller and until `stop` is set."""
        from services.upkeep import keep_up

        return _started(lambda: keep_up(stop, self.database, self.blobs, self.indexes), "upkeep")

    def close(self) -> None:
        """Let go of what is held; nothing waits in memory to be saved."""
        if "local_models" in self.__dict__:
            self.local_models.close()
        if "vllm_servers" in self.__dict__:
            self.vllm_servers.close()
        self.database.close()


def _started(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name)
    thread.start()
    return thread


def open_services(settings: Settings, load_embedder: Callable[[], "Embedder"] | None = None) -> Services:
    """Make the home if it is not there, bring its database up to date and give the parts.

    `load_embedder` gives the embedder at its first use; by default it is the one that the settings name. Raises
    InvalidSettings, DatabaseUnavailable.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    services = Services(settings, load_embedder)
    try:
        services.database.migrate(settings.home / "migrate.lock")
        ensure_default_project(services.database)
        if settings.indexes == "database":
            # Where that cannot be, it is told at once and not at the first search.
            _ = services.indexes
    except BaseException:
        services.close()
        raise
    return services
