"""The knowledge graph of a generation: written with its chunks, and read as `rag.knowledge.walk` walks it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.orm import Session, aliased

from rag.knowledge.types import ChunkGraph
from rag.knowledge.walk import Link
from rag.types import ChunkId
from services.storage.database import Database
from services.storage.graph_tables import GraphEntityRow, GraphRelationRow
from services.storage.tables import GenerationRow

_COUNTS = (
    select(GraphEntityRow.key, func.count())
    .where(
        GraphEntityRow.generation_id == bindparam("generation_id"),
        GraphEntityRow.key.in_(bindparam("keys", expanding=True)),
    )
    .group_by(GraphEntityRow.key)
)
_NAMING = (
    select(GraphEntityRow.key, GraphEntityRow.chunk_id)
    .where(
        GraphEntityRow.generation_id == bindparam("generation_id"),
        GraphEntityRow.key.in_(bindparam("keys", expanding=True)),
    )
    .order_by(GraphEntityRow.key, GraphEntityRow.chunk_id)
)
_SUBJECT, _OBJECT = aliased(GraphEntityRow), aliased(GraphEntityRow)
_KEYS: Any = bindparam("keys", expanding=True)
_LINKS = (
    select(
        GraphRelationRow.chunk_id,
        GraphRelationRow.subject,
        GraphRelationRow.label,
        GraphRelationRow.object,
        _SUBJECT.name.label("subject_name"),
        _OBJECT.name.label("object_name"),
    )
    .join(_SUBJECT, (_SUBJECT.chunk_id == GraphRelationRow.chunk_id) & (_SUBJECT.key == GraphRelationRow.subject))
    .join(_OBJECT, (_OBJECT.chunk_id == GraphRelationRow.chunk_id) & (_OBJECT.key == GraphRelationRow.object))
    .where(
        GraphRelationRow.chunk_id.in_(bindparam("chunk_ids", expanding=True)),
        GraphRelationRow.subject.in_(_KEYS) | GraphRelationRow.object.in_(_KEYS),
    )
    .order_by(GraphRelationRow.chunk_id, GraphRelationRow.ordinal)
)


def insert_graph(
    session: Session, generation: GenerationRow, ids: Mapping[int, int], graphs: Sequence[ChunkGraph]
) -> None:
    """Put the graph of a document's chunks away; `ids` are those of the chunks by their place among them."""
    owned = {"project_id": generation.project_id}
    entities = [
        {"chunk_id": ids[place], "key": one.key, "name": one.name, "kind": one.kind, "generation_id": generation.id}
        | owned
        for place, graph in enumerate(graphs)
        for one in graph.entities
    ]
    relations = [
        {"chunk_id": ids[place], "ordinal": ordinal, "subject": one.subject, "label": one.label, "object": one.object}
        | owned
        for place, graph in enumerate(graphs)
        for ordinal, one in enumerate(graph.relations)
    ]
    if entities:
        session.execute(insert(GraphEntityRow), entities)
    if relations:
        session.execute(insert(GraphRelationRow), relations)


class SqlEntityGraph:
    """The graph of a generation (`rag.knowledge.walk.EntityGraph`); of one that is being removed there is ever less.

    What it leads to is looked up again as a passage, which is where a search notices.
    """

    def __init__(self, database: Database, generation: GenerationRow) -> None:
        self._database, self._generation_id = database, generation.id

    def counts(self, keys: Collection[str]) -> Mapping[str, int]:
        with self._database.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(_COUNTS, self._asked(keys))}

    def naming(self, keys: Collection[str]) -> Mapping[str, Sequence[ChunkId]]:
        found: dict[str, list[ChunkId]] = {}
        with self._database.connect() as connection:
            for key, chunk_id in connection.execute(_NAMING, self._asked(keys)):
                found.setdefault(key, []).append(ChunkId(chunk_id))
        return found

    def links(self, keys: Collection[str], within: Collection[ChunkId]) -> Sequence[Link]:
        with self._database.connect() as connection:
            rows = connection.execute(_LINKS, {"chunk_ids": list(within), "keys": sorted(keys)}).all()
        return [
            Link(
                chunk_id=ChunkId(row.chunk_id),
                subject=row.subject,
                label=row.label,
                object=row.object,
                subject_name=row.subject_name,
                object_name=row.object_name,
            )
            for row in rows
        ]

    def _asked(self, keys: Collection[str]) -> dict[str, Any]:
        return {"generation_id": self._generation_id, "keys": sorted(keys)}
