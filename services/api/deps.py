"""What routes ask for: the parts of the service, and on whose behalf they act.

These are async although they wait for nothing: FastAPI gives every plain function a thread.
"""

from typing import Annotated

from fastapi import Depends, Request

from services.wiring import Services


async def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


async def get_project(request: Request) -> str:
    """Give the project that the guard found, before any of the body was read."""
    project_id: str = request.state.project_id
    return project_id


ProjectDep = Annotated[str, Depends(get_project)]
