"""Wrong passages for an embedder's queries, found in a vector store."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from finetune.encoder import negatives
from finetune.encoder.ground import gather
from finetune.encoder.negatives import Found
from finetune.errors import TrainingFailed
from finetune.job import TuningJob
from rag.errors import RagError
from rag.fuse import Weights
from rag.retrieve import SearchOptions
from services.errors import ServiceError
from services.jobs.job import Stopped
from services.storage.generations import live_generation
from services.storage.tables import VectorStoreRow
from services.storage.tuning_tables import TuningRow
from services.storage.vector_stores import find_store_by_name

if TYPE_CHECKING:
    from services.wiring import Services

BY_VECTORS = Weights(embedding=1.0, text=0.0)

log = logging.getLogger(__name__)


class StoreSearch:
    """Search in a vector store by its vectors alone (`finetune.encoder.negatives.Search`)."""

    def __init__(self, services: "Services", store: VectorStoreRow, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._searching = services.searching
        self._project_id, self._store_id = store.project_id, store.id
        with services.database.read() as session:
            made_with = live_generation(session, store.id).embedder
        self._embedder = services.embedders.named(store.project_id, made_with)

    def nearest(self, queries: Sequence[str], count: int) -> list[list[Found]]:
        options = SearchOptions(max_results=count, weights=BY_VECTORS)
        return [self._found(query, options) for query in queries]

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> list[float]:
        scores: list[float] = (self._embedder.embed(queries) * self._embedder.embed(passages)).sum(axis=1).tolist()
        return scores

    def _found(self, query: str, options: SearchOptions) -> list[Found]:
        if self._stopped():
            raise Stopped
        hits = self._searching.search(self._project_id, [self._store_id], query, options)
        return [Found(text=hit.passage.text, score=hit.cosine or 0.0) for hit in hits]


def supply_negatives(services: "Services", row: TuningRow, job: TuningJob, stopped: Callable[[], bool]) -> None:
    """Put into a job's folder the wrong passages that it wants from a store, once. Raises FinetuneError, Stopped."""
    wanted = row.tuning.get("negatives_from")
    if wanted is None or negatives.read(job.folder) is not None:
        return
    with services.database.read() as session:
        store = find_store_by_name(session, row.project_id, wanted)
    if store is None:
        raise TrainingFailed(f"The vector store {wanted!r} has been deleted.", code="invalid_negatives")
    queries = gather(job).queries
    try:
        mined = list(negatives.mine(queries, StoreSearch(services, store, stopped), seed=job.settings.seed))
    except (RagError, ServiceError) as exc:
        raise TrainingFailed(f"No negatives can be found in {wanted!r}: {exc}", code="invalid_negatives") from exc
    negatives.write(job.folder, mined)
    log.info("negatives_mined job_id=%s store_id=%s queries=%d", row.id, store.id, len(queries))
