"""Walking the graph from what a question names to passages that it shares no word with.

A step goes from an entity over a relation to another entity, and may be taken only where the relation stands in a
passage that the question finds by itself: what is said of "Acme" elsewhere is not what was asked. Whatever names the
entity that was come to is reached. From there a second step goes on, over relations of the passages just reached.
Each entity on the way counts by how rare it is: what half of the passages name leads nowhere.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rag.knowledge.names import longest, runs_of
from rag.types import ChunkId

HOPS = 2
SECOND_HOP = 0.6
# An entity that more passages name is a subject of the store and no bridge between two of them.
MOST_NAMED = 40
MOST_ENTITIES = 32
# The second step is taken from so many of the passages that the first one reached.
MOST_PASSAGES = 32
BACKWARDS = "← "


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A relation as a passage says it: the keys and names of its two entities."""

    chunk_id: ChunkId
    subject: str
    label: str
    object: str
    subject_name: str
    object_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A passage that was come to from another. `strength` is in 0..1, `path` entity, relation, entity and so on.

    A relation that was walked from its object to its subject begins with an arrow back.
    """

    chunk_id: ChunkId
    origin: ChunkId
    strength: float
    path: tuple[str, ...]


class EntityGraph(Protocol):
    """What the passages of one store name and relate; entities are given and asked for by their keys."""

    def counts(self, keys: Collection[str]) -> Mapping[str, int]:
        """How many passages name each; an entity that none names is left out."""

    def naming(self, keys: Collection[str]) -> Mapping[str, Sequence[ChunkId]]:
        """Which passages name each."""

    def links(self, keys: Collection[str], within: Collection[ChunkId]) -> Sequence[Link]:
        """The relations that these entities have in these passages."""


def walk(question: str, graph: EntityGraph, origins: Sequence[ChunkId]) -> list[Reached]:
    """Give the passages that are reached from `origins`, those that the question finds, each by its strongest path."""
    runs = runs_of(question)
    counts = graph.counts({run.key for run in runs})
    seeds = [key for key in longest(runs, set(counts)) if counts[key] <= MOST_NAMED]
    ways = {seed: _Way(strength=1.0, path=(), origin=None) for seed in seeds}
    reached: dict[ChunkId, Reached] = {}
    seen, within = set(counts), list(origins)
    for hop in range(HOPS):
        ways = _step(ways, graph, within, seen, SECOND_HOP if hop else 1.0)
        if not ways:
            break
        seen |= ways.keys()
        found = _found(ways, graph, reached)
        within = sorted(found, key=lambda one: (-found[one].strength, one))[:MOST_PASSAGES]
        reached |= found
    return sorted(reached.values(), key=lambda one: (-one.strength, one.chunk_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How an entity was come to: over which path, and from which passage at its beginning."""

    strength: float
    path: tuple[str, ...]
    origin: ChunkId | None


def rarity(named: int) -> float:
    """Weigh an entity by how many passages name it: 1 for two of them, less for more."""
    return 1.0 if named <= 2 else 1.0 / math.log2(named)


def _step(
    ways: Mapping[str, _Way], graph: EntityGraph, within: Sequence[ChunkId], seen: set[str], worth: float
) -> dict[str, _Way]:
    """Go on from entities to those that the passages relate to them, each by the strongest way to it."""
    links = graph.links(ways.keys(), within) if ways else ()
    place = {chunk_id: number for number, chunk_id in enumerate(within)}
    steps = [step for link in sorted(links, key=lambda link: place[link.chunk_id]) for step in _both(link, ways, seen)]
    counts = graph.counts({key for key, _ in steps})
    found: dict[str, _Way] = {}
    for key, way in steps:
        if 1 < counts.get(key, 0) <= MOST_NAMED:
            weighed = replace(way, strength=way.strength * worth * rarity(counts[key]))
            if key not in found or weighed.strength > found[key].strength:
                found[key] = weighed
    best = sorted(found, key=lambda key: (-found[key].strength, key))[:MOST_ENTITIES]
    return {key: found[key] for key in best}


def _both(link: Link, ways: Mapping[str, _Way], seen: set[str]) -> list[tuple[str, _Way]]:
    """Give where a relation leads from what was come to, along it and against it."""
    steps = []
    for start, name, label, end, end_name in (
        (link.subject, link.subject_name, link.label, link.object, link.object_name),
        (link.object, link.object_name, f"{BACKWARDS}{link.label}", link.subject, link.subject_name),
    ):
        if start in ways and end not in seen:
            way = ways[start]
            origin = link.chunk_id if way.origin is None else way.origin
            path = (*(way.path or (name,)), label, end_name)
            steps.append((end, _Way(strength=way.strength, path=path, origin=origin)))
    return steps


def _found(ways: Mapping[str, _Way], graph: EntityGraph, known: Mapping[ChunkId, Reached]) -> dict[ChunkId, Reached]:
    found: dict[ChunkId, Reached] = {}
    for key, chunk_ids in graph.naming(ways.keys()).items():
        way = ways[key]
        for chunk_id in chunk_ids:
            better = chunk_id not in found or way.strength > found[chunk_id].strength
            if way.origin is not None and chunk_id != way.origin and chunk_id not in known and better:
                found[chunk_id] = Reached(chunk_id=chunk_id, origin=way.origin, strength=way.strength, path=way.path)
    return found
