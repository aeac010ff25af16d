"""The wire of `/v1/models`."""

from typing import Any, Literal

from openai.types import Model as OpenAIModel
from pydantic import BaseModel

from services.engines.router import Kind, ServedModel


class Model(OpenAIModel):
    """A model; `parent` is what an alias stands for, or what a model was tuned from.

    `over` is the model whose weights a tuned one is served over, where that was chosen.
    """

    engine: str
    kind: Kind
    parent: str | None
    over: str | None


class ModelWithManifest(Model):
    """One model; `manifest` says what a tuned one was made from, and whether it answers as it did in training."""

    manifest: dict[str, Any] | None = None


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[Model]


def wire_model(served: ServedModel) -> Model:
    return Model(
        id=served.id,
        object="model",
        created=served.created,
        owned_by=served.engine if served.kind == "model" else "loam",
        engine=served.engine,
        kind=served.kind,
        parent=served.parent,
        over=served.over,
    )
