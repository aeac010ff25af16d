"""A store's graph in memory, by the rules or as a test says."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rag.knowledge.rules import by_rules
from rag.knowledge.types import ChunkGraph
from rag.knowledge.walk import Link
from rag.types import ChunkId


@dataclass
class MemoryGraph:
    """An EntityGraph to add passages to."""

    chunks: dict[ChunkId, ChunkGraph] = field(default_factory=dict)
    named: dict[str, list[ChunkId]] = field(default_factory=dict)

    def add(self, chunk_id: int, text: str, headings: Sequence[str] = ()) -> None:
        self.put(chunk_id, by_rules(text, headings))

    def put(self, chunk_id: int, graph: ChunkGraph) -> None:
        self.chunks[ChunkId(chunk_id)] = graph
        for entity in graph.entities:
            self.named.setdefault(entity.key, []).append(ChunkId(chunk_id))

    def counts(self, keys: Collection[str]) -> Mapping[str, int]:
        return {key: len(self.named[key]) for key in keys if key in self.named}

    def naming(self, keys: Collection[str]) -> Mapping[str, Sequence[ChunkId]]:
        return {key: self.named[key] for key in keys if key in self.named}

    def links(self, keys: Collection[str], within: Collection[ChunkId]) -> Sequence[Link]:
        found = []
        for chunk_id in within:
            graph = self.chunks.get(chunk_id, ChunkGraph())
            names = {entity.key: entity.name for entity in graph.entities}
            for one in graph.relations:
                if one.subject in keys or one.object in keys:
                    subject, object_ = names[one.subject], names[one.object]
                    found.append(
                        Link(
                            chunk_id=chunk_id,
                            subject=one.subject,
                            label=one.label,
                            object=one.object,
                            subject_name=subject,
                            object_name=object_,
                        )
                    )
        return found
