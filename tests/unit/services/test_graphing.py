import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from prompts import Templates
from rag.errors import InvalidFile
from rag.ingest import Ingested, Rejected
from rag.types import Chunk, Document
from services.engines.gate import Gate
from services.engines.router import Route
from services.errors import NotFound, UpstreamFailed
from services.graphing import Drawing

TEXT = "Acme Corp was founded by Jane Roe."
LINE = '["Acme Corp", "organisation", "belongs to", "Jane Roe"]\nnonsense'


class Model:
    """An engine that says one thing, or fails."""

    name = "model"
    supports = frozenset({"temperature"})

    def __init__(self, says: str | Exception) -> None:
        self.says = says
        self.loops: list[Any] = []

    async def chat(self, request: Any) -> dict[str, Any]:
        self.loops.append(asyncio.get_running_loop())
        if isinstance(self.says, Exception):
            raise self.says
        return {"choices": [{"message": {"content": self.says}}]}


def drawing(engine: Any, *, generative: bool = True, closed: list[Any] | None = None) -> Drawing:
    route = Route(model_id="m", engine=engine, generative=generative, gate=Gate("m"))

    def resolve(_project: str, _name: str) -> Route:
        if engine is None:
            raise NotFound("There is no model 'm'.")
        return route

    async def aclose() -> None:
        if closed is not None:
            closed.append(asyncio.get_running_loop())

    router: Any = SimpleNamespace(resolve=resolve, aclose=aclose)
    return Drawing(Templates(), "m", lambda: router)


def version(title: str | None = None, *path: str) -> Ingested[str]:
    chunk = Chunk(ordinal=0, text=TEXT, start=0, end=len(TEXT), tokens=9, heading_path=path)
    document = Document(name="a.md", media_type="text/plain", text=TEXT, title=title)
    return Ingested(ref="a", document=document, chunks=(chunk,), keys=((),), vectors={})


def draw(how: Drawing, given: Ingested[str], *, wanted: bool = True) -> Ingested[str]:
    [drawn] = how.draw("p", [given], lambda _: wanted, lambda: None)
    assert isinstance(drawn, Ingested)
    return drawn


def labels(drawn: Ingested[str]) -> list[str]:
    return [relation.label for graph in drawn.graphs for relation in graph.relations]


def test_rules_draw_where_no_model_is_named() -> None:
    router: Any = None
    assert labels(draw(Drawing(Templates(), None, lambda: router), version())) == ["was founded by"]


def test_the_model_draws_where_one_is_named() -> None:
    engine = Model(LINE)
    closed: list[Any] = []
    assert labels(draw(drawing(engine, closed=closed), version())) == ["belongs to"]
    assert engine.loops == closed, "what it opened in its loop is closed there"


@pytest.mark.parametrize("engine", [None, Model(UpstreamFailed("down"))])
def test_rules_stand_in_for_a_model_that_is_not_there_or_fails(engine: Any) -> None:
    assert labels(draw(drawing(engine), version())) == ["was founded by"]


def test_rules_stand_in_for_an_engine_that_only_quotes() -> None:
    assert labels(draw(drawing(Model(LINE), generative=False), version())) == ["was founded by"]


def test_nothing_is_drawn_where_no_graph_is_wanted() -> None:
    engine = Model(LINE)
    assert draw(drawing(engine), version(), wanted=False).graphs == ()
    assert engine.loops == []


def test_what_was_rejected_stays_so() -> None:
    rejected = Rejected(ref="b", error=InvalidFile("no"))
    assert drawing(Model(LINE)).draw("p", [version(), rejected], lambda _: True, lambda: None)[1] is rejected


def test_a_document_s_title_stands_above_all_its_headings() -> None:
    router: Any = None
    [graph] = draw(Drawing(Templates(), None, lambda: router), version("Old Firms", "Founders")).graphs
    assert {"old firm", "founder"} <= {entity.key for entity in graph.entities}


def test_drawing_can_be_broken_off_between_passages() -> None:
    class Enough(Exception):
        pass

    def checkpoint() -> None:
        raise Enough

    with pytest.raises(Enough):
        drawing(Model(LINE)).draw("p", [version()], lambda _: True, checkpoint)
