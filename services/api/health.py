"""How the service is: `/health`, `/healthz`, `/readyz`, `/version`, `/metrics`."""

import logging
import threading
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from services.api.deps import ServicesDep
from services.api.metrics import gates_registry
from services.engines.breaker import Circuit
from services.errors import NotReady
from services.version import VERSION
from services.wiring import Services

router = APIRouter(tags=["service"])
log = logging.getLogger(__name__)


class ModelHealth(BaseModel):
    """How a model's engine has been: `circuit` is open while it is left alone for its failures."""

    circuit: Circuit
    in_flight: int
    waiting: int


class Health(BaseModel):
    """`models` holds those that have been asked since the start."""

    status: Literal["ok"]
    version: str
    models: dict[str, ModelHealth]


class Version(BaseModel):
    version: str


class Readiness:
    """What must be there before requests can be answered: database, embedder and worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._embedder_problem = "The embedder is being loaded."
        self.workers: list[threading.Thread] = []

    def warm(self) -> None:
        """Load the embedder, so that the first question does not wait for it."""
        try:
            _ = self._services.embedder
        except Exception as exc:
            log.exception("embedder_unavailable")
            self._embedder_problem = f"The embedder cannot be loaded: {exc}"

    def check(self) -> None:
        """Raises NotReady with the reason."""
        # A request may have loaded the embedder after the warm-up failed.
        embedder_problem = None if self._services.embedder_loaded else self._embedder_problem
        problem = self._database_problem() or embedder_problem or self._worker_problem()
        if problem:
            raise NotReady(problem)

    def _database_problem(self) -> str | None:
        try:
            with self._services.database.read() as session:
                session.execute(text("SELECT 1"))
        except Exception as exc:
            log.exception("database_unavailable")
            return f"The database cannot be read ({type(exc).__name__})."
        return None

    def _worker_problem(self) -> str | None:
        ended = [worker.name for worker in self.workers if not worker.is_alive()]
        return f"A worker has ended ({', '.join(ended)}); see the log." if ended else None


@router.head("/health", include_in_schema=False)
@router.head("/healthz", include_in_schema=False)
@router.get("/health")
@router.get("/healthz")
async def health(services: ServicesDep) -> Health:
    return _health(services)


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz")
def ready(request: Request, services: ServicesDep) -> Health:
    readiness: Readiness = request.app.state.readiness
    readiness.check()
    return _health(services)


@router.get("/version")
def version() -> Version:
    return Version(version=VERSION)


@router.get("/metrics")
def metrics(services: ServicesDep) -> Response:
    measured = generate_latest() + generate_latest(gates_registry(services.router.gates()))
    return Response(measured, media_type=CONTENT_TYPE_LATEST)


def _health(services: Services) -> Health:
    models = {
        gate.model_id: ModelHealth(
            circuit=gate.breaker.circuit, in_flight=gate.places.taken, waiting=gate.places.waiting
        )
        for gate in services.router.gates()
    }
    return Health(status="ok", version=VERSION, models=models)
