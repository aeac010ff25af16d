"""Queries of a search as they are searched for where rewriting was asked for."""

from collections.abc import Sequence

from rag.rewrite import rewrite
from services.engines.generator import EngineGenerator
from services.wiring import Services


def rewritten(services: Services, project_id: str, queries: Sequence[str]) -> list[str]:
    """Rewrite queries by the model of LOAM_REWRITE_MODEL, else by rule. To be called in a request's worker thread.

    Raises NotFound where there is no such model.
    """
    generator = None
    if services.settings.rewrite_model is not None:
        route = services.router.resolve(project_id, services.settings.rewrite_model)
        generator = EngineGenerator(route) if route.generative else None
    template = services.templates.get("rewrite_query")
    return [rewrite(query, template=template, generator=generator) for query in queries]
