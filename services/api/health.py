"""How the service is: `/health`, `/healthz`, `/readyz`, `/version`, `/metrics`."""

import logging
import threading
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from services.errors import NotReady
from services.version import VERSION
from services.wiring import Services

router = APIRouter(tags=["service"])
log = logging.getLogger(__name__)


class Health(BaseModel):
    status: Literal["ok"]
    version: str


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
def health() -> Health:
    return Health(status="ok", version=VERSION)


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz")
def ready(request: Request) -> Health:
    readiness: Readiness = request.app.state.readiness
    readiness.check()
    return Health(status="ok", version=VERSION)


@router.get("/version")
def version() -> Version:
    return Version(version=VERSION)


@router.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
