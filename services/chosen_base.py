"""The base that a tuned adapter is served over, where another is wanted than it was trained over.

The closest is what it was trained over, quantized the same, and that is the default. Over weights that are quantized
otherwise it answers otherwise by the error of quantization, which parity measures.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from finetune.adapter import Manifest, base_hash
from finetune.errors import ModelUnavailable
from finetune.model import Base
from finetune.source import locate
from services.errors import BadRequest, NotFound
from services.storage.tuned_models import find_tuned_model

if TYPE_CHECKING:
    from services.settings import ModelSettings
    from services.wiring import Services

ENGINES = ("local", "vllm")
"""Those whose weights are here, so that an adapter can be put on them."""


def choose_base(services: "Services", project_id: str, model_id: str, over: str | None, *, force: bool = False) -> None:
    """Serve an adapter over the weights of the model `over` from now on, None for those it was trained over.

    With `force` also over weights that are not those it was trained over, and though its own files have changed.
    Raises NotFound, BadRequest, ModelUnavailable.
    """
    with services.database.read() as session:
        row = find_tuned_model(session, project_id, model_id)
        if row is None:
            raise NotFound(f"There is no tuned model {model_id!r}: 'loam models list' shows those there are.")
        manifest = Manifest(**row.manifest)
    if over is not None:
        _check(services, project_id, model_id, manifest, over, force=force)
    with services.database.write() as session:
        row = find_tuned_model(session, project_id, model_id)
        if row is not None:
            row.over, row.forced = over, force


def _check(services: "Services", project_id: str, model_id: str, manifest: Manifest, over: str, *, force: bool) -> None:
    if manifest.kind != "adapter":
        raise BadRequest(f"The model {model_id!r} is no adapter ({manifest.kind}): it has weights of its own.")
    base = services.router.declared(project_id, over)
    if base is None or base.engine not in ENGINES:
        raise BadRequest(
            f"{over!r} is no model with weights of its own here: name one of the engine "
            f"{' or '.join(ENGINES)}, of loam.yaml or added by 'loam models add'."
        )
    problem = _problem(base, manifest)
    if problem is not None and not force:
        raise BadRequest(
            f"The model {model_id!r} was trained over {manifest.base!r}, and {problem}. Over other weights its answers "
            "are those of a model that nobody has trained or measured: they may be wrong in any way. --force serves it "
            "so nonetheless.",
            code="model_mismatch",
        )


def _problem(base: "ModelSettings", manifest: Manifest) -> str | None:
    """Say what keeps a model's weights from being those that an adapter was trained over; None for nothing.

    What a server has that runs already is compared when it is asked: it says by itself where its weights lie.
    """
    if base.is_weights and base_hash(_folder(base.source)) != manifest.base_sha256:
        return f"the weights of {base.id!r} are others"
    return None


def _folder(source: str) -> Path:
    folder = locate(Base(source=source)).folder
    if not (folder / "config.json").is_file():
        raise ModelUnavailable(f"There is no model in {str(folder)!r}.", hint="Bring it back, or name another.")
    return folder
