"""Entities and relations of a passage as a model writes them (`prompts/extract_graph.jinja`): read strictly.

A line is a JSON list of four strings, whose two names stand in the passage or its headings. Other lines are dropped
and counted: a name that is made up would lead from passage to passage for no reason.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from prompts.templates import Template
from rag.knowledge.names import MAX_NAME_CHARS, key_of, keys_within
from rag.knowledge.rules import MAX_LABEL_CHARS, under_headings
from rag.knowledge.types import ChunkGraph, Entity, Relation
from rag.ports import Generator

MAX_REPLY_TOKENS = 1500
MAX_KIND_CHARS = 40
FIELDS = 4
_AROUND = " \t,-*•"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a model found in a passage, and how many of its lines were dropped."""

    graph: ChunkGraph
    dropped: int


def by_model(text: str, headings: Sequence[str], *, template: Template, generator: Generator) -> Written:
    """Ask a model what a passage names and says of it. Raises GeneratorFailed."""
    message = template.message(text=text, heading=" > ".join(headings))
    written = parse(generator.generate([message], max_tokens=MAX_REPLY_TOKENS), "\n".join((*headings, text)))
    return Written(graph=under_headings(written.graph, headings), dropped=written.dropped)


def parse(reply: str, passage: str) -> Written:
    """Read a model's lines; fences of code and blank lines are none."""
    lines = [line for line in map(str.strip, reply.splitlines()) if line and not line.startswith("```")]
    there = keys_within(passage)
    read = [_read(line.strip(_AROUND), there) for line in lines]
    found = [one for one in read if one is not None]
    first = {entity.key: entity for subject, _, other in found for entity in (other, subject)}
    # The type is told of the first of two: where an entity is one somewhere, that is what it is.
    kinds = {subject.key: subject for subject, _, _ in found}
    relations = dict.fromkeys(relation for _, relation, _ in found)
    graph = ChunkGraph(entities=tuple((first | kinds).values()), relations=tuple(relations))
    return Written(graph=graph, dropped=len(lines) - len(found))


def _read(line: str, there: set[str]) -> tuple[Entity, Relation, Entity] | None:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, list) or len(given) != FIELDS or not all(isinstance(one, str) for one in given):
        return None
    name, kind, label, other = (" ".join(one.split()) for one in given)
    fits = max(len(name), len(other)) <= MAX_NAME_CHARS and 0 < len(label) <= MAX_LABEL_CHARS
    key, other_key = key_of(name), key_of(other)
    if not fits or len(kind) > MAX_KIND_CHARS or key == other_key or not {key, other_key} <= there:
        return None
    return (
        Entity(key=key, name=name, kind=kind.lower()),
        Relation(subject=key, label=label, object=other_key),
        Entity(key=other_key, name=other, kind=""),
    )
