"""What routes ask for: the parts of the service, and on whose behalf they act."""

from typing import Annotated

from fastapi import Depends, Request

from services.auth import project_of
from services.wiring import Services


def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def get_project(request: Request, services: ServicesDep) -> str:
    return project_of(services.settings, services.database, request.headers.get("authorization"))


ProjectDep = Annotated[str, Depends(get_project)]
