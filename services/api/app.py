"""The HTTP application: routes, the guard around them, and what runs beside them."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware

from services.api.chat.routes import create_chat_completion
from services.api.chat.routes import router as chat
from services.api.chat.schemas import ChatCompletionRequest
from services.api.completions.routes import create_completion
from services.api.completions.routes import router as completions
from services.api.completions.schemas import CompletionRequest
from services.api.embeddings.routes import router as embeddings
from services.api.errors import install_error_handlers
from services.api.files.routes import router as files
from services.api.fine_tuning.routes import router as fine_tuning
from services.api.health import Readiness
from services.api.health import router as health
from services.api.hot import Handler, HotRoute
from services.api.middleware import RequestGuard
from services.api.models.routes import router as models
from services.api.moderations.routes import router as moderations
from services.api.rerank.routes import router as rerank
from services.api.responses.routes import router as responses
from services.api.sdk_paths import SdkPaths
from services.api.uploads.routes import router as uploads
from services.api.vector_stores.routes import router as vector_stores
from services.version import VERSION
from services.wiring import Services

_ROUTERS = (
    chat,
    completions,
    responses,
    moderations,
    models,
    embeddings,
    rerank,
    files,
    uploads,
    vector_stores,
    fine_tuning,
)
_HOT: dict[str, tuple[type[BaseModel], Handler]] = {
    "/v1/chat/completions": (ChatCompletionRequest, create_chat_completion),
    "/v1/completions": (CompletionRequest, create_completion),
}
# RequestGuard checks keys. This tells those who read the schema of them, and has /docs ask for one.
API_KEY = HTTPBearer(auto_error=False, scheme_name="ApiKeyAuth", description="A key that `loam keys create` gave.")
LOOPBACK_ORIGIN = r"https?://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?"


def create_app(services: Services) -> FastAPI:
    """Give the application over these services; it closes them when it shuts down."""
    # What /docs is made of comes from here too: a machine without internet would show an empty page, and others would
    # run a stranger's script beside an API that may ask for no key.
    app = FastAPIOffline(title="loam", version=VERSION, lifespan=_lifespan, redoc_url=None)
    app.state.services = services
    install_error_handlers(app)
    for path, (kind, handler) in _HOT.items():
        app.router.routes.append(HotRoute(path, kind, handler, services, app.router))
    app.include_router(health)
    for router in _ROUTERS:
        app.include_router(router, dependencies=[Security(API_KEY)])
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(services.settings.allowed_origins),
        allow_origin_regex=LOOPBACK_ORIGIN,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["x-request-id"],
    )
    app.add_middleware(RequestGuard, services=services)
    app.add_middleware(SdkPaths)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    stop = threading.Event()
    app.state.readiness = readiness = Readiness(services)
    readiness.workers = services.start_workers(stop) if services.settings.worker else []
    warming = threading.Thread(target=readiness.warm, name="warm")
    warming.start()
    threads = [warming, services.start_upkeep(stop)]
    try:
        yield
    finally:
        stop.set()
        for thread in (*threads, *readiness.workers):
            thread.join()
        await services.router.aclose()
        services.close()
