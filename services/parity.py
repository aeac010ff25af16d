"""Asks the serving path whether it is the model that was trained: over HTTP, within the process.

Requests go through the whole application: the guard, the routes, the router and the engine, as those of any client.
Nothing listens on a port for it. The caller's project is set in the ASGI scope, which no client can reach, so that no
key is needed and none is made.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import update

from finetune.adapter import Manifest
from finetune.errors import NotAnswered
from finetune.parity.compare import Parity, compare
from finetune.parity.reasons import Over
from finetune.parity.trace import TRACES, read_traces
from services.errors import NotFound
from services.jobs.job import Stopped
from services.storage.tuned_models import find_tuned_model
from services.storage.tuning_tables import TuningRow

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from services.jobs.tune import Tuned
    from services.wiring import Services

ANSWER_TIMEOUT_S = 600.0
"""How long one answer may take: the first one waits for the model to be loaded."""

ASK_AGAIN_S = 1.0
ON_ITS_WAY = ("engine_starting", "circuit_open")
"""What a model says whose server is started by the first question, or was left alone for a while for being so late."""

CHAT = "/v1/chat/completions"


def prove(
    services: "Services", project_id: str, model_id: str, traces: Path, stopped: Callable[[], bool] = lambda: False
) -> Parity:
    """Hold what a model answers in serving against what its trainer recorded. To be called off the event loop.

    Raises UnreadableFile if there is no record, and Stopped where it is to break off.
    """
    recorded = read_traces(traces)
    over = _over(services, project_id, model_id)
    with _Client(services, project_id, model_id) as client:

        def ask(body: dict[str, Any]) -> Mapping[str, Any]:
            if stopped():
                raise Stopped
            return client.ask(body)

        parity = compare(recorded, ask, over=over)
    return replace(parity, engine=client.engine, compared_at=int(time.time()))


def prove_tuned(services: "Services", tuned: "Tuned", stopped: Callable[[], bool]) -> Parity | None:
    """Prove a job's model; None where its trainer left no record, as for a model that does not chat."""
    traces = tuned.folder.parent / TRACES
    if not traces.exists():
        return None
    return prove(services, tuned.project_id, tuned.model_id, traces, stopped)


def prove_again(services: "Services", project_id: str, model_id: str) -> Parity | None:
    """Prove a tuned model as it is served now, and keep the result with it and its job; None without a record.

    Raises NotFound.
    """
    with services.database.read() as session:
        row = find_tuned_model(session, project_id, model_id)
        if row is None:
            raise NotFound(f"There is no tuned model {model_id!r}: 'loam models list' shows those there are.")
        folder = Path(row.folder)
    traces = folder.parent / TRACES
    if not traces.exists():
        return None
    parity = prove(services, project_id, model_id, traces)
    replace(Manifest.read(folder), parity=parity.public()).write(folder)
    with services.database.write() as session:
        row = find_tuned_model(session, project_id, model_id)
        if row is not None:
            row.manifest = {**row.manifest, "parity": parity.public()}
            session.execute(
                update(TuningRow).where(TuningRow.fine_tuned_model == model_id).values(parity=parity.public())
            )
    return parity


def _over(services: "Services", project_id: str, model_id: str) -> Over | None:
    """Give the base that was chosen for a model, if one was."""
    with services.database.read() as session:
        row = find_tuned_model(session, project_id, model_id)
    if row is None or row.over is None:
        return None
    base = services.router.declared(project_id, row.over)
    quantization = base.quantization if base else None
    return Over(model_id=row.over, quantization=quantization or "none", forced=row.forced)


class _Client:
    """A client of this process's own application."""

    def __init__(self, services: "Services", project_id: str, model_id: str) -> None:
        import httpx

        from services.api.app import create_app

        self.engine: str | None = None
        self._model_id = model_id
        self._router = services.router
        self._runner = asyncio.Runner()
        app = _Inside(create_app(services), project_id)
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://localhost",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.run(self._client.aclose())
        # Connections towards upstreams belong to their loop, which ends here.
        self._runner.run(self._router.aclose())
        self._runner.close()

    def ask(self, body: dict[str, Any]) -> Mapping[str, Any]:
        """Give the answer to a chat completion. Raises NotAnswered."""
        try:
            return self._runner.run(asyncio.wait_for(self._post(body), ANSWER_TIMEOUT_S))
        except TimeoutError as exc:
            raise NotAnswered(f"There was no answer within {ANSWER_TIMEOUT_S:.0f} s.") from exc

    async def _post(self, body: dict[str, Any]) -> Mapping[str, Any]:
        while True:
            response = await self._client.post(CHAT, json={**body, "model": self._model_id})
            answer: dict[str, Any] = response.json()
            if not response.is_error:
                break
            if answer["error"]["code"] not in ON_ITS_WAY:
                raise NotAnswered(answer["error"]["message"])
            await asyncio.sleep(ASK_AGAIN_S)
        self.engine = answer.get("loam", {}).get("engine")
        return answer


class _Inside:
    """Names the project of requests that come from within."""

    def __init__(self, app: "ASGIApp", project_id: str) -> None:
        self._app = app
        self._project_id = project_id

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        from services.api.middleware import INSIDE_PROJECT

        await self._app({**scope, INSIDE_PROJECT: self._project_id}, receive, send)
