"""What holds for fine-tuning jobs over HTTP."""

import re
from collections.abc import Callable, Iterable

from sqlalchemy.orm import Session

from services.api.fine_tuning.requests import CreateFineTuningJob
from services.api.fine_tuning.schemas import FineTuningJob, job_object
from services.api.idempotency import Creating
from services.errors import BadRequest, NotFound
from services.storage.database import Database
from services.storage.tuning import Metadata, find_job
from services.storage.tuning_tables import TuningRow
from services.tuning import TuningJobs

NO_METADATA = "null"
_FILTER = re.compile(r"metadata(?:\[(.*)\])?", re.DOTALL)


def require_job(session: Session, project_id: str, job_id: str) -> TuningRow:
    """Give a job of the project. Raises NotFound."""
    row = find_job(session, project_id, job_id)
    if row is None:
        raise NotFound(f"Could not find fine tune: {job_id}", param="fine_tuning_job_id", code="fine_tune_not_found")
    return row


def create_job(creating: Creating, tuning: TuningJobs, asked: CreateFineTuningJob) -> FineTuningJob:
    """Make a job, whose files are checked beside the caller."""
    wanted = asked.wanted()

    def make(session: Session) -> FineTuningJob:
        return job_object(tuning.create(session, creating.project_id, wanted, over_http=True))

    return creating.once(FineTuningJob, asked.model_dump(exclude_unset=True), make)


def change_job(
    database: Database, project_id: str, job_id: str, change: Callable[[Session, TuningRow], None]
) -> FineTuningJob:
    """Cancel, pause or resume a job. Raises NotFound, BadRequest."""
    with database.write() as session:
        row = require_job(session, project_id, job_id)
        change(session, row)
        return job_object(row)


def metadata_filter(query: Iterable[tuple[str, str]]) -> Callable[[Metadata], bool] | None:
    """Read `metadata[k]=v` or `metadata=null` of a query string: which jobs are wanted. Raises BadRequest."""
    given = [(match[1], value) for name, value in query if (match := _FILTER.fullmatch(name))]
    if not given:
        return None
    if given == [(None, NO_METADATA)]:
        return lambda metadata: metadata is None
    pairs = {key: value for key, value in given if key is not None}
    if len(pairs) < len(given):
        raise BadRequest(
            "Filter by 'metadata[key]=value', each key once, or by 'metadata=null'.",
            param="metadata",
            code="invalid_value",
        )
    return lambda metadata: pairs.items() <= (metadata or {}).items()
