"""The end of a tuned model: its name is gone at once, its files when nobody is being answered from them."""

import logging
import shutil
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.errors import BadRequest, Forbidden
from services.storage.tuned_models import find_tuned_model, models_over, remove_tuned_model
from services.storage.tuning_tables import ENDED_TUNINGS, TunedModelRow, TuningRow
from services.storage.vector_stores import stores_made_with
from services.wiring import Services

log = logging.getLogger(__name__)


def remove_tuned(services: Services, project_id: str, model_id: str) -> None:
    """Remove a tuned model. Raises NotFound, Forbidden for one not tuned here, BadRequest while it is needed."""
    with services.database.write() as session:
        row = find_tuned_model(session, project_id, model_id)
        if row is None:
            known = services.router.model(project_id, model_id)
            raise Forbidden(
                f"The model {model_id!r} is not one that was tuned here ({known.kind}): only those can be deleted.",
                param="model",
                code="not_deletable",
            )
        _check_not_needed(session, row)
        remove_tuned_model(session, row)
        folder = Path(row.folder)
    services.local_models.discard(folder, lambda: _remove(folder, model_id, services.settings.home))


def _check_not_needed(session: Session, row: TunedModelRow) -> None:
    running = select(TuningRow.id).where(TuningRow.status.not_in(ENDED_TUNINGS), TuningRow.project_id == row.project_id)
    needs = or_(TuningRow.id == row.job_id, TuningRow.parent_id == row.id)
    job_id = session.scalars(running.where(needs)).first()
    if job_id is not None:
        raise _needed(row, f"the fine-tuning job {job_id!r}, which has not ended: wait for it or cancel it first")
    over = models_over(session, Path(row.folder)) if row.kind == "full" else ()
    if over:
        raise _needed(row, f"{over[0].id!r}, which was tuned over it: delete that first")
    if stores := stores_made_with(session, row.project_id, row.id):
        name = stores[0].name or stores[0].id
        raise _needed(row, f"the vector store {name!r}: move it to another embedder first, or delete it")


def _needed(row: TunedModelRow, by: str) -> BadRequest:
    return BadRequest(f"The model {row.id!r} is needed by {by}.", param="model", code="model_in_use")


def _remove(folder: Path, model_id: str, home: Path) -> None:
    """Remove the files; those that loam did not put into its home are not its to remove."""
    if not folder.resolve().is_relative_to(home.resolve()):
        log.warning("tuned_model_files_left model=%s folder=%s", model_id, folder)
        return
    shutil.rmtree(folder, ignore_errors=True)
    log.info("tuned_model_removed model=%s folder=%s", model_id, folder)
