"""What a passage adds to the graph."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """Something that a passage names: `key` is what other passages name it by too, `name` how it is written here."""

    key: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What a passage says of two entities, by their keys: `subject` `label` `object`."""

    subject: str
    label: str
    object: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkGraph:
    """The entities that one passage names, each once, and what it says of them; it names all that it relates."""

    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
