"""Models added by `loam models add`. Those of `loam.yaml` are settings and are never written here."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.errors import BadRequest, InvalidSettings
from services.settings import ModelSettings
from services.storage.tables import ModelRow

TUNED_PREFIX: Final = "ft:"


def add_model(
    session: Session,
    project_id: str,
    model_id: str,
    *,
    engine: str,
    source: str,
    options: Mapping[str, Any],
    taken: Collection[str],
) -> ModelRow:
    """Add a model. Raises BadRequest where the id is taken, or the options are not of the engine."""
    if model_id in taken or model_id.startswith(TUNED_PREFIX):
        raise BadRequest(f"The model id {model_id!r} is taken by loam itself or by loam.yaml. Choose another.")
    if find_model(session, project_id, model_id) is not None:
        raise BadRequest(f"There is a model {model_id!r} already. Remove it first or choose another id.")
    row = ModelRow(
        project_id=project_id,
        id=model_id,
        engine=engine,
        source=source,
        options=dict(options),
        created_at=int(time.time()),
    )
    _check(row)
    session.add(row)
    session.flush()
    return row


def find_model(session: Session, project_id: str, model_id: str) -> ModelRow | None:
    return session.get(ModelRow, (project_id, model_id))


def list_models(session: Session, project_id: str) -> Sequence[ModelRow]:
    """Give a project's added models, by id."""
    return session.scalars(select(ModelRow).where(ModelRow.project_id == project_id).order_by(ModelRow.id)).all()


def added_settings(row: ModelRow) -> ModelSettings:
    """Give an added model as if it were declared. Raises InvalidSettings for what is refused by now."""
    try:
        return _settings(row)
    except ValueError as exc:
        raise InvalidSettings(
            f"The model {row.id!r} cannot be used as it was added: remove it and add it again."
        ) from exc


def remove_model(session: Session, project_id: str, model_id: str) -> bool:
    """Remove a model; False when there is none of that id."""
    mine = delete(ModelRow).where(ModelRow.project_id == project_id, ModelRow.id == model_id)
    return session.execute(mine.returning(ModelRow.id)).scalar() is not None


def _check(row: ModelRow) -> None:
    try:
        _settings(row)
    except ValidationError as exc:
        said = exc.errors()[0]["msg"].removeprefix("Value error, ")
        raise BadRequest(f"The model {row.id!r} cannot be added: {said}.") from exc


def _settings(row: ModelRow) -> ModelSettings:
    return ModelSettings.model_validate({"id": row.id, "engine": row.engine, "source": row.source, **row.options})
