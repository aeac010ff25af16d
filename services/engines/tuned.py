"""Which engine answers as a model that was tuned here: over what it was trained over, or over the base it is put on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from services.engines.engine import Engine
from services.errors import BadRequest
from services.settings import ModelSettings
from services.storage.database import Database
from services.storage.tuned_models import find_tuned_model
from services.storage.tuning_tables import TunedModelRow

if TYPE_CHECKING:
    from services.engines.local.wanted import WantedModel
    from services.engines.vllm.tuned import Tuned


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModels:
    """The tuned models, and what makes engines of them.

    `declared` gives what is said of a model by its project and name, `local` an engine over weights in this process,
    `over_vllm` one over a declared model's server.
    """

    database: Database
    declared: Callable[[str, str], ModelSettings | None]
    local: "Callable[[WantedModel], Engine]"
    over_vllm: "Callable[[ModelSettings, Tuned], Engine]"

    def find(self, project_id: str, model_id: str) -> TunedModelRow | None:
        with self.database.read() as session:
            return find_tuned_model(session, project_id, model_id)

    def engine(self, project_id: str, tuned: TunedModelRow) -> Engine:
        """Give the engine of a tuned model. Raises BadRequest for one that cannot chat, or whose base has gone."""
        does = {"reward": "scores answers", "embedder": "makes embeddings"}.get(tuned.kind)
        if does is not None:
            raise BadRequest(f"The model {tuned.id!r} {does}; it cannot chat.", param="model")
        base = self.base(project_id, tuned)
        if tuned.over and base is None:
            raise BadRequest(
                f"The model {tuned.id!r} is served over {tuned.over!r}, which is not there any more: "
                "'loam models serve' chooses another base for it.",
                param="model",
                code="model_not_available",
            )
        if base is not None and base.engine == "vllm":
            return self.over_vllm(base, _over_vllm(tuned))
        return self.local(_local(tuned, base))

    def base(self, project_id: str, tuned: TunedModelRow) -> ModelSettings | None:
        """Give the declared model that a tuned one is served over; None for what it was trained over, served locally.

        Where nothing was chosen, an adapter over the plain weights of a vLLM server goes onto that server.
        """
        if tuned.over:
            return self.declared(project_id, tuned.over)
        if tuned.kind != "adapter" or tuned.manifest["quantization"] != "none":
            return None
        root = tuned
        while (parent := self.find(project_id, root.parent)) is not None:
            root = parent
        named = self.declared(project_id, root.parent)
        return named if named is not None and named.starts_vllm else None


def weights_of(model: ModelSettings) -> "WantedModel":
    """Give what the local engine is asked for as a declared model."""
    from finetune.model import Base
    from services.engines.local.wanted import WantedModel
    from services.models import directory_of

    folder = directory_of(model.source)
    base = Base(source=str(folder) if folder else model.source)
    return WantedModel(id=model.id, base=base, quantization=model.quantization or "none", dtype=model.dtype)


def _local(row: TunedModelRow, over: ModelSettings | None) -> "WantedModel":
    from finetune.adapter import Manifest
    from services.engines.local.wanted import wanted_tuned

    wanted = replace(wanted_tuned(row.id, Path(row.folder), Manifest(**row.manifest)), forced=row.forced)
    if over is None:
        return wanted
    base = weights_of(over)
    return replace(wanted, base=base.base, quantization=base.quantization, dtype=base.dtype)


def _over_vllm(row: TunedModelRow) -> "Tuned":
    from finetune.adapter import Manifest
    from services.engines.vllm.tuned import Tuned

    return Tuned(id=row.id, folder=Path(row.folder), manifest=Manifest(**row.manifest), forced=row.forced)
