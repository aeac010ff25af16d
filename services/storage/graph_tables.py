"""The tables of a generation's knowledge graph. Their rows go with their chunk, whatever takes that away."""

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from services.storage.tables import Base


class GraphEntityRow(Base):
    """An entity that a chunk names: `key` is what all chunks know it by, `name` how it is written in this one."""

    __tablename__ = "graph_entities"
    __table_args__ = (Index("ix_graph_entities_key", "generation_id", "key"),)

    chunk_id: Mapped[int] = mapped_column(ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    generation_id: Mapped[int]
    name: Mapped[str]
    kind: Mapped[str]


class GraphRelationRow(Base):
    """What a chunk says of two entities that it names, by their keys; `ordinal` is its place among the chunk's."""

    __tablename__ = "graph_relations"

    chunk_id: Mapped[int] = mapped_column(ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    subject: Mapped[str]
    label: Mapped[str]
    object: Mapped[str]
