"""Drawing the graph of documents before they are put away: by the model of LOAM_GRAPH_MODEL, else by rules.

A model is asked once a passage, one after the other, and outside any transaction. Where it fails, or is not there, the
rules stand in.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from prompts import Template, Templates
from rag.errors import GeneratorFailed
from rag.ingest import Ingested, Outcome
from rag.knowledge.rules import by_rules
from rag.knowledge.types import ChunkGraph
from rag.knowledge.written import by_model
from rag.ports import Generator
from rag.types import Chunk, Document
from services.errors import ServiceError

if TYPE_CHECKING:
    from services.engines.router import Route, Router

log = logging.getLogger(__name__)

Ref = TypeVar("Ref")


class Drawing:
    """Draws graphs. `model` is None for the rules; `router` finds the model when it is first wanted."""

    def __init__(self, templates: Templates, model: str | None, router: "Callable[[], Router]") -> None:
        self._templates = templates
        self._model = model
        self._router = router

    def draw(
        self,
        project_id: str,
        outcomes: Sequence[Outcome[Ref]],
        wanted: Callable[[Ref], bool],
        checkpoint: Callable[[], None],
    ) -> list[Outcome[Ref]]:
        """Give the outcomes, those that are wanted with their graphs. `checkpoint` is called before each passage.

        To be called off the event loop.
        """
        if not any(isinstance(one, Ingested) and wanted(one.ref) for one in outcomes):
            return list(outcomes)
        with self._pen(project_id) as pen:
            drawn = [
                replace(one, graphs=tuple(_drawn(one, pen, checkpoint)))
                if isinstance(one, Ingested) and wanted(one.ref)
                else one
                for one in outcomes
            ]
        log.info("graph_drawn by_model=%d by_rules=%d lines_dropped=%d", pen.by_model, pen.by_rules, pen.dropped)
        return drawn

    @contextmanager
    def _pen(self, project_id: str) -> "Iterator[_Pen]":
        template = self._templates.get("extract_graph")
        route = self._route(project_id)
        if route is None:
            yield _Pen(template=template)
            return
        from services.engines.generator import EngineGenerator

        with asyncio.Runner() as runner:
            generator = EngineGenerator(route, run=lambda ask: runner.run(ask()))
            try:
                yield _Pen(template=template, generator=generator)
            finally:
                runner.run(self._router().aclose())

    def _route(self, project_id: str) -> "Route | None":
        """Give where the model answers. That it is not there is no fault of the documents."""
        if self._model is None:
            return None
        try:
            route = self._router().resolve(project_id, self._model)
        except ServiceError as exc:
            log.warning("graph_model_missing model=%s reason=%s", self._model, exc)
            return None
        return route if route.generative else None


@dataclass(slots=True, kw_only=True)
class _Pen:
    """Draws passage by passage, and counts what by."""

    template: Template
    generator: Generator | None = None
    by_model: int = 0
    by_rules: int = 0
    dropped: int = 0

    def draw(self, chunk: Chunk, headings: Sequence[str]) -> ChunkGraph:
        if self.generator is not None:
            try:
                written = by_model(chunk.text, headings, template=self.template, generator=self.generator)
            except GeneratorFailed as exc:
                log.warning("graph_model_failed reason=%s", exc)
            else:
                self.by_model += 1
                self.dropped += written.dropped
                return written.graph
        self.by_rules += 1
        return by_rules(chunk.text, headings)


def _drawn(version: Ingested[Ref], pen: _Pen, checkpoint: Callable[[], None]) -> Iterator[ChunkGraph]:
    for chunk in version.chunks:
        checkpoint()
        yield pen.draw(chunk, _headings(version.document, chunk))


def _headings(document: Document, chunk: Chunk) -> tuple[str, ...]:
    """Give what a passage stands under, its document's title where it is under no heading of that name."""
    path = chunk.heading_path
    return path if document.title is None or document.title in path else (document.title, *path)
