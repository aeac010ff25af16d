"""`/v1/fine_tuning/jobs`."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from openai.types.fine_tuning import FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from services.api.deps import ProjectDep, ServicesDep
from services.api.fine_tuning import service
from services.api.fine_tuning.requests import CreateFineTuningJob
from services.api.fine_tuning.schemas import FineTuningJob, checkpoint_object, event_object, job_object
from services.api.idempotency import CreatingDep
from services.api.paging import ListOf, list_of
from services.storage.paging import PageRequest
from services.storage.tuning import list_checkpoints, list_events, list_jobs

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine_tuning"])
get = partial(router.get, response_model_exclude_unset=True)
post = partial(router.post, response_model_exclude_unset=True)

Limit = Annotated[int, Query(ge=1, le=1000)]


@post("")
def create(services: ServicesDep, creating: CreatingDep, asked: CreateFineTuningJob) -> FineTuningJob:
    return service.create_job(creating, services.tuning, asked)


@get("")
def list_(
    request: Request, services: ServicesDep, project_id: ProjectDep, after: str | None = None, limit: Limit = 20
) -> ListOf[FineTuningJob]:
    """List jobs, newest first; `metadata[key]=value` gives those that carry it."""
    wanted = service.metadata_filter(request.query_params.multi_items())
    with services.database.read() as session:
        page = list_jobs(session, project_id, PageRequest(limit=limit, after=after or None), wanted=wanted)
        return list_of([job_object(row) for row in page.rows], has_more=page.has_more)


@get("/{fine_tuning_job_id}")
def retrieve(services: ServicesDep, project_id: ProjectDep, fine_tuning_job_id: str) -> FineTuningJob:
    with services.database.read() as session:
        return job_object(service.require_job(session, project_id, fine_tuning_job_id))


@post("/{fine_tuning_job_id}/cancel")
def cancel(services: ServicesDep, project_id: ProjectDep, fine_tuning_job_id: str) -> FineTuningJob:
    return service.change_job(services.database, project_id, fine_tuning_job_id, services.tuning.cancel)


@post("/{fine_tuning_job_id}/pause")
def pause(services: ServicesDep, project_id: ProjectDep, fine_tuning_job_id: str) -> FineTuningJob:
    return service.change_job(services.database, project_id, fine_tuning_job_id, services.tuning.pause)


@post("/{fine_tuning_job_id}/resume")
def resume(services: ServicesDep, project_id: ProjectDep, fine_tuning_job_id: str) -> FineTuningJob:
    return service.change_job(services.database, project_id, fine_tuning_job_id, services.tuning.resume)


@get("/{fine_tuning_job_id}/events")
def events(
    services: ServicesDep,
    project_id: ProjectDep,
    fine_tuning_job_id: str,
    after: str | None = None,
    limit: Limit = 20,
) -> ListOf[FineTuningJobEvent]:
    """List events, newest first."""
    with services.database.read() as session:
        job = service.require_job(session, project_id, fine_tuning_job_id)
        page = list_events(session, job, PageRequest(limit=limit, after=after or None))
        return list_of([event_object(row) for row in page.rows], has_more=page.has_more)


@get("/{fine_tuning_job_id}/checkpoints")
def checkpoints(
    services: ServicesDep,
    project_id: ProjectDep,
    fine_tuning_job_id: str,
    after: str | None = None,
    limit: Limit = 10,
) -> ListOf[FineTuningJobCheckpoint]:
    """List checkpoints, newest first; each can be asked like a model."""
    with services.database.read() as session:
        job = service.require_job(session, project_id, fine_tuning_job_id)
        page = list_checkpoints(session, job, PageRequest(limit=limit, after=after or None))
        return list_of([checkpoint_object(row, job.id) for row in page.rows], has_more=page.has_more)
