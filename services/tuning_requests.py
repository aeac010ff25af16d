"""A fine-tuning job as it is asked for, and what is refused of it at once.

Only what is cheap and certain is: what is wrong inside the files, or with a model that must be fetched, is told by the
job itself.
"""

import importlib.util
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from finetune.config import SEEDS, Lora, Tuning
from finetune.types import METHODS
from services.errors import BadRequest
from services.models import Tunable
from services.storage.files import find_file
from services.storage.tables import FileRow
from services.storage.vector_stores import find_store_by_name

PURPOSE: Final = "fine-tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTuning:
    """A job as it is asked for. Of `tuning` what was given counts as asked, the rest as left to loam.

    `integrations` are as on the wire: `{"type": "wandb", "wandb": {...}}` or `{"type": "tensorboard"}`.
    """

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    tuning: Tuning = field(default_factory=Tuning)
    metadata: Mapping[str, str] | None = None
    integrations: Sequence[Mapping[str, Any]] = ()


def require_file(session: Session, project_id: str, file_id: str, param: str) -> FileRow:
    """Give a file that was uploaded to be trained on. Raises BadRequest."""
    file = find_file(session, project_id, file_id)
    if file is None:
        raise BadRequest(f"No such File object: {file_id}", param=param, code="file_not_found")
    if file.purpose != PURPOSE:
        raise BadRequest(
            f"The file {file_id!r} has the purpose {file.purpose!r}: upload it with the purpose {PURPOSE!r}.",
            param=param,
            code="invalid_file_purpose",
        )
    return file


def require_method(path: Path, method: str) -> None:
    """Look whether a file's first record is for a method. Raises BadRequest."""
    # Imported here: the formats are of no use to a server that tunes nothing.
    from finetune.data.dataset import format_of

    told = format_of(path)
    if told is not None and told.kind is not METHODS[method]:
        raise BadRequest(
            f"The training file is for {' or '.join(told.methods)}, and the method is {method}: "
            "give a file for this method, or choose the method that learns from this file.",
            param="method",
            code="incompatible_method",
        )


def require_negatives(session: Session, project_id: str, store: str | None) -> None:
    """Check that there is the vector store that wrong passages are to come from. Raises BadRequest."""
    if store is not None and find_store_by_name(session, project_id, store) is None:
        raise BadRequest(
            f"There is no vector store {store!r} to find negatives in: give the name or the id of one.",
            param="negatives_from",
            code="vector_store_not_found",
        )


def require_integrations(integrations: Sequence[Mapping[str, Any]]) -> None:
    """Check that what is to be told of a training is installed. Raises BadRequest."""
    for integration in integrations:
        if importlib.util.find_spec(integration["type"]) is None:
            raise BadRequest(
                f"The integration {integration['type']!r} needs a package that is not installed here: "
                f"pip install {integration['type']}, or leave it out.",
                param="integrations",
                code="integration_not_available",
            )


def inherited(tuning: Tuning, found: Tunable) -> Tuning:
    """Take from the model what was not asked for otherwise, and a seed, so that the job can be repeated.

    Raises BadRequest where a tuned model that is gone on from was made otherwise.
    """
    given = tuning.model_fields_set
    update: dict[str, Any] = {} if tuning.seed is not None else {"seed": secrets.randbelow(SEEDS)}
    if found.manifest is not None and found.base.adapter is not None:
        lora = Lora.model_validate(found.manifest.settings["lora"])
        if "quantization" in given and tuning.quantization != found.manifest.quantization:
            raise _unlike(found, "quantization", found.manifest.quantization)
        if "lora" in given and tuning.lora != lora:
            raise _unlike(found, "lora", lora.model_dump())
        update |= {"quantization": found.manifest.quantization, "lora": lora}
    elif found.quantization is not None and "quantization" not in given and tuning.lora is not None:
        update["quantization"] = found.quantization
    return tuning.model_copy(update=update)


def _unlike(found: Tunable, param: str, inherited: object) -> BadRequest:
    return BadRequest(
        f"The model {found.parent_id!r} was tuned with {param} {inherited!r} and goes on with it: leave {param} out.",
        param=param,
        code="incompatible_with_parent",
    )
