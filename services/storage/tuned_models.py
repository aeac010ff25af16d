"""Tuned models and checkpoints that can be served, each from a folder with its manifest."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.adapter import Manifest
from services.storage.tuning_tables import TunedModelRow


def put_tuned_model(
    session: Session,
    project_id: str,
    model_id: str,
    *,
    parent: str,
    folder: Path,
    manifest: Manifest,
    job_id: str | None = None,
) -> TunedModelRow:
    """Register a tuned model, which answers from then on; one of that id, as of a step run again, is replaced.

    `parent` is the model that was named for tuning. Called again with another manifest, it keeps that.
    """
    row = TunedModelRow(
        project_id=project_id,
        id=model_id,
        job_id=job_id,
        kind=manifest.kind,
        parent=parent,
        folder=str(folder.absolute()),
        manifest=asdict(manifest),
        created_at=int(time.time()),
    )
    kept = session.merge(row)
    session.flush()
    return kept


def find_tuned_model(session: Session, project_id: str, model_id: str) -> TunedModelRow | None:
    return session.get(TunedModelRow, (project_id, model_id))


def list_tuned_models(session: Session, project_id: str) -> Sequence[TunedModelRow]:
    """Give a project's tuned models, oldest first."""
    mine = select(TunedModelRow).where(TunedModelRow.project_id == project_id)
    return session.scalars(mine.order_by(TunedModelRow.created_at, TunedModelRow.id)).all()


def models_over(session: Session, folder: Path) -> Sequence[TunedModelRow]:
    """Give the adapters of all projects whose base is the tuned model in that folder."""
    over = select(TunedModelRow).where(TunedModelRow.manifest["base"].as_string() == str(folder))
    return session.scalars(over.where(TunedModelRow.folder != str(folder))).all()


def remove_tuned_model(session: Session, row: TunedModelRow) -> None:
    """Take a tuned model off the list. Its folder is the caller's to remove."""
    session.delete(row)
