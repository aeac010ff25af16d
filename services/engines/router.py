"""From the model that a request names to the engine that answers.

A name is looked for among: `default`, loam's own engines, the models and aliases of `loam.yaml`, the
models added by `loam models add`, those tuned here, and, where Groq is on, `groq/` before any of Groq's
own names. `loam.yaml` wins over what was added. Names are looked up anew each time: a tuned model
answers from the moment it is registered.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from services.engines.breaker import Breaker
from services.engines.engine import Engine
from services.engines.gate import Gate
from services.engines.tuned import TunedModels, weights_of
from services.errors import BadRequest, NotFound
from services.model_table import DEFAULT, EXTRACTIVE, GROQ_PREFIX, fallbacks_of
from services.settings import AliasSettings, ModelSettings, Settings
from services.storage.database import Database
from services.storage.models import added_settings, find_model, list_models
from services.storage.tuned_models import list_tuned_models
from services.storage.tuning_tables import TunedModelRow

if TYPE_CHECKING:
    from services.engines.local.models import LocalModels
    from services.engines.local.wanted import WantedModel
    from services.engines.pool import ClientPool
    from services.engines.vllm.servers import VllmServers

Kind: TypeAlias = Literal["engine", "model", "alias", "embedder", "reranker", "adapter", "full", "reward"]
"""What a model is; the last three are the kinds of tuned models, of which an embedder is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a request goes: `model_id` is the generator that answers, whatever name was asked for.

    A `generative` engine writes words of its own; the other kind quotes and cites by itself. Every request goes
    through the `gate`, which all routes to the model share.
    """

    model_id: str
    engine: Engine
    generative: bool
    gate: Gate
    alias: AliasSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model as `/v1/models` lists it; `parent` is what an alias stands for, or what a model was tuned from.

    `over` is the model whose weights a tuned one is served over, where that was chosen.
    """

    id: str
    kind: Kind
    engine: str
    created: int
    parent: str | None = None
    over: str | None = None


class Router:
    """Knows every model. Hosted engines and vLLM's share its pool of connections; `aclose` closes them."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        extractive: Engine,
        local_models: "Callable[[], LocalModels]",
        vllm_servers: "Callable[[], VllmServers]",
    ) -> None:
        self._settings = settings
        self._database = database
        self._extractive = extractive
        self._local_models = local_models
        self._vllm_servers = vllm_servers
        self._declared = {model.id: model for model in settings.models}
        self._tuned = TunedModels(
            database=database, declared=self.declared, local=self._local,
            over_vllm=lambda base, tuned: vllm_servers().engine(base, self._connections(), tuned),
        )  # fmt: skip
        self._pool: ClientPool | None = None
        self._started = int(time.time())
        self._gates: dict[tuple[str, str], Gate] = {}
        self._hosted_engines: dict[str, Engine] = {}
        self._stand_ins = {model.id: fallbacks_of(settings, model.id) for model in settings.models}
        for name, alias in settings.aliases.items():
            self._stand_ins[name] = fallbacks_of(settings, self._target(alias), name)

    def resolve(self, project_id: str, model_id: str) -> Route:
        """Give the engine for a model's name. Raises NotFound, and BadRequest for one that cannot chat."""
        name = self._settings.default if model_id == DEFAULT else model_id
        alias = self._settings.aliases.get(name)
        if alias is None:
            return self._generator(project_id, name)
        return replace(self._generator(project_id, self._target(alias)), alias=alias)

    def fallbacks(self, model_id: str) -> tuple[str, ...]:
        """Give the models that stand in for one when it fails, in order."""
        return self._stand_ins.get(self._settings.default if model_id == DEFAULT else model_id, ())

    def gates(self) -> list[Gate]:
        """Give the gates of the models that have been asked so far."""
        return list(self._gates.values())

    def tokenizer_of(self, project_id: str, model_id: str) -> str | None:
        """Give where a model's tokenizer lies, a directory or a hub id; None where its weights are not here."""
        model = self.declared(project_id, model_id)
        if model is not None:
            return weights_of(model).base.source if model.is_weights else None
        tuned = self._tuned.find(project_id, model_id)
        return tuned.folder if tuned else None

    def declared(self, project_id: str, model_id: str) -> ModelSettings | None:
        """Give what is said of a model in the settings, or when it was added; None if it is neither's."""
        return self._declared.get(model_id) or self._added(project_id, model_id)

    def is_at_hand(self, model_id: str) -> bool:
        """Say whether a model and those that stand in for it are hosted, and of the settings: found without waiting."""
        name = self._settings.default if model_id == DEFAULT else model_id
        found = (self._declared.get(one) for one in (name, *self.fallbacks(name)))
        return all(model is not None and model.engine in ("groq", "openai", "vllm") for model in found)

    def models(self, project_id: str) -> list[ServedModel]:
        """Give every model that can be named, those of loam first."""
        with self._database.read() as session:
            added, tuned = list_models(session, project_id), list_tuned_models(session, project_id)
        listed = {model.id: model for model in self._configured()}
        for row in added:
            known = ServedModel(id=row.id, kind="model", engine=row.engine, created=row.created_at)
            listed.setdefault(row.id, known)
        for one in tuned:
            listed.setdefault(one.id, _served_tuned(one, self._tuned.base(project_id, one)))
        return list(listed.values())

    def model(self, project_id: str, model_id: str) -> ServedModel:
        """Give one model by its name. Raises NotFound."""
        for served in self.models(project_id):
            if served.id == model_id:
                return served
        route = self.resolve(project_id, model_id)
        kind: Kind = "alias" if model_id == DEFAULT else "model"
        parent = route.model_id if kind == "alias" else None
        return ServedModel(id=model_id, kind=kind, engine=route.engine.name, created=self._started, parent=parent)

    def taken(self) -> set[str]:
        """Give the names that no added model may have."""
        return {DEFAULT, *(model.id for model in self._configured())}

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    def _configured(self) -> Iterator[ServedModel]:
        settings, created = self._settings, self._started
        yield ServedModel(id=EXTRACTIVE, kind="engine", engine=EXTRACTIVE, created=created)
        yield ServedModel(id=settings.embedder_name, kind="embedder", engine="embedder", created=created)
        if settings.reranker_name is not None:
            yield ServedModel(id=settings.reranker_name, kind="reranker", engine="reranker", created=created)
        for model in settings.models:
            yield ServedModel(id=model.id, kind="model", engine=model.engine, created=created)
        for name, alias in settings.aliases.items():
            yield ServedModel(id=name, kind="alias", engine="alias", created=created, parent=alias.model)

    def _target(self, alias: AliasSettings) -> str:
        return self._settings.default if alias.model == DEFAULT else alias.model

    def _generator(self, project_id: str, model_id: str) -> Route:
        if model_id == EXTRACTIVE:
            return self._quoting(project_id, model_id)
        model = self._declared.get(model_id)
        if model is None and model_id == self._settings.embedder_name:
            raise BadRequest(f"The model {model_id!r} makes embeddings; it cannot chat.", param="model")
        if model is None and model_id == self._settings.reranker_name:
            raise BadRequest(f"The model {model_id!r} reranks; it cannot chat.", param="model")
        model = model or self._added(project_id, model_id)
        tuned = None if model else self._tuned.find(project_id, model_id)
        if tuned is not None:
            engine = self._tuned.engine(project_id, tuned)
            return Route(model_id=model_id, engine=engine, generative=True, gate=self._gate(project_id, model_id))
        model = model or _undeclared(model_id)
        if model is None:
            raise NotFound(
                f"The model {model_id!r} does not exist: GET /v1/models lists those that do.",
                param="model",
                code="model_not_found",
            )
        if model.engine == EXTRACTIVE:
            return self._quoting(project_id, model_id)
        engine = self._local(weights_of(model)) if model.engine == "local" else self._hosted(model)
        return Route(model_id=model_id, engine=engine, generative=True, gate=self._gate(project_id, model_id, model))

    def _quoting(self, project_id: str, model_id: str) -> Route:
        gate = self._gate(project_id, model_id)
        return Route(model_id=model_id, engine=self._extractive, generative=False, gate=gate)

    def _gate(self, project_id: str, model_id: str, model: ModelSettings | None = None) -> Gate:
        """Give the model's gate. Groq's own names are anybody's to make up: all of them share one."""
        undeclared = model_id not in self._declared and model_id.startswith(GROQ_PREFIX)
        key = (project_id, f"{GROQ_PREFIX}*" if undeclared else model_id)
        return self._gates.get(key) or self._gates.setdefault(key, self._new_gate(key[1], model))

    def _new_gate(self, name: str, model: ModelSettings | None) -> Gate:
        settings = self._settings
        return Gate(
            name,
            most=model.max_concurrent if model else None,
            wait_s=settings.model_wait_s,
            # A hosted engine looks to its own time, with each attempt anew.
            timeout_s=model.timeout_s if model and model.engine == "local" else None,
            breaker=Breaker(failures=settings.circuit_failures, open_s=settings.circuit_open_s),
        )

    def _hosted(self, model: ModelSettings) -> Engine:
        if (made := self._hosted_engines.get(model.id)) is not None:
            return made
        engine = self._new_hosted(model)
        if model.id in self._declared:
            self._hosted_engines[model.id] = engine
        return engine

    def _new_hosted(self, model: ModelSettings) -> Engine:
        # Imported here, so that asking the extractive engine does not wait for an HTTP client to load.
        from services.engines.hosted import Hosted
        from services.engines.upstreams import upstream_of

        if model.engine == "vllm":
            return self._vllm_servers().engine(model, self._connections())
        return Hosted(upstream_of(model, self._settings), self._connections())

    def _connections(self) -> "ClientPool":
        from services.engines.pool import ClientPool

        self._pool = self._pool or ClientPool()
        return self._pool

    def _local(self, wanted: "WantedModel") -> Engine:
        # Imported here, so that listing models and asking the extractive engine wait for none of it.
        from services.engines.local.engine import Local

        return Local(wanted, self._local_models())

    def _added(self, project_id: str, model_id: str) -> ModelSettings | None:
        with self._database.read() as session:
            row = find_model(session, project_id, model_id)
        return None if row is None else added_settings(row)


def _undeclared(model_id: str) -> ModelSettings | None:
    source = model_id.removeprefix(GROQ_PREFIX)
    return ModelSettings(id=model_id, engine="groq", source=source) if source not in ("", model_id) else None


def _served_tuned(row: TunedModelRow, base: ModelSettings | None) -> ServedModel:
    kind, engine = cast("Kind", row.kind), base.engine if base else "local"
    return ServedModel(id=row.id, kind=kind, engine=engine, created=row.created_at, parent=row.parent, over=row.over)
