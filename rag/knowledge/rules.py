"""Entities and relations of a passage by rules, without a model.

Entities are names (words with capitals, several or within a sentence), acronyms, identifiers of code, and the headings
above. Two that stand in one sentence are related: by the words between them where these are few, else by standing
there together. What a heading names is related to what stands under it. A word that only stands where any word has a
capital may be a name: it is kept as a `word`, related to nothing, so that only those are come to that are names
elsewhere. Where every noun has a capital (German) these are found too; where no word has one (Arabic, Chinese), only
acronyms, code and headings.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from rag.knowledge.names import MAX_NAME_CHARS, MAX_NAME_WORDS, key_of
from rag.knowledge.types import ChunkGraph, Entity, Relation
from rag.sentences import sentences
from rag.words import FUNCTION_WORDS, listed

WORD = "word"
TOGETHER = "with"
UNDER = "under"
MAX_ENTITIES = 48
MAX_IN_SENTENCE = 8
MAX_LABEL_WORDS = 6
MAX_LABEL_CHARS = 48

_UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĘĚŁŃŇŐŘŚŠŤŮŰŹŻŽΑ-ΩА-Я"
_CAPITAL = rf"[{_UPPER}][\w’'&-]*"
_LINK = r"(?:(?:of|the|for|de|la|le|von|van|der|den|di|da|du|del|al|bin|ibn|&)\s+){1,2}"
_NAME = re.compile(rf"(?<![\w`.]){_CAPITAL}(?:\.?\s+(?:{_LINK})?{_CAPITAL})*(?:\s+\d+\b)?")
_CODE = re.compile(
    r"`([^`\n]{2,60})`|\b([a-z]+\w*_\w+|[A-Z][A-Z0-9]*_[A-Z0-9_]+|[a-z]+[A-Z]\w+|[A-Z][a-z0-9]+[A-Z]\w*|\w+(?=\(\)))"
)
_ACRONYM = re.compile(r"(?:[A-Z]\.){2,}|[A-Z][A-Z0-9]{1,9}(?:-\d+)?s?")
_STARTERS = FUNCTION_WORDS | listed(
    "after before during since until while although though because under over between among however many most several"
    " another every no yes each these those once upon within without despite according given per via let please see"
    " note his hers our their who that finally later today now here there thus hence therefore moreover furthermore"
    " first second third next last new old both either neither whereas like unlike unless even still yet such"
)
_CALENDAR = listed(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august"
    " september october november december"
)
_CLAUSE = re.compile(r"[;:()|\[\]\n]")
_BEFORE_NAMES = _STARTERS | _CALENDAR
_LABEL_WORD = re.compile(r"[\w'’-]+")


@dataclass(frozen=True, slots=True)
class _Mention:
    entity: Entity
    start: int
    end: int


def by_rules(text: str, headings: Sequence[str] = ()) -> ChunkGraph:
    """Give what a passage names under its headings, outermost first, and how that hangs together."""
    spans = [text[span.start : span.end] for span in sentences(text)]
    inside = _inside(text)
    found = [list(_mentions(span, inside)) for span in spans]
    relations = [one for span, mentions in zip(spans, found, strict=True) for one in _related(span, mentions)]
    entities = sorted((mention.entity for mentions in found for mention in mentions), key=lambda one: one.kind == WORD)
    return under_headings(ChunkGraph(entities=tuple(entities), relations=tuple(relations)), headings)


def under_headings(graph: ChunkGraph, headings: Sequence[str]) -> ChunkGraph:
    """Add the headings that can be names, and relate them to what stands under them. Keep the first MAX_ENTITIES."""
    above = [entity for heading in headings if (entity := _entity(heading, "heading")) is not None]
    first: dict[str, Entity] = {}
    for entity in (*above[-2:], *graph.entities):
        if len(first) < MAX_ENTITIES:
            first.setdefault(entity.key, entity)
    keys = {entity.key for entity in above[-1:]}
    named = [key for key, entity in first.items() if entity.kind != WORD]
    under = [Relation(subject=one, label=UNDER, object=key) for key in keys for one in named if one != key]
    kept = [one for one in graph.relations if one.subject in first and one.object in first]
    return ChunkGraph(entities=tuple(first.values()), relations=tuple(_once(kept, under)))


def _once(said: Iterable[Relation], implied: Iterable[Relation]) -> Iterator[Relation]:
    """Give each relation once, and what is implied only of those that nothing is said of."""
    seen: set[Relation] = set()
    pairs: set[frozenset[str]] = set()
    for relation in said:
        if relation not in seen:
            seen.add(relation)
            pairs.add(frozenset((relation.subject, relation.object)))
            yield relation
    yield from (one for one in implied if frozenset((one.subject, one.object)) not in pairs)


def _mentions(sentence: str, inside: set[str]) -> Iterator[_Mention]:
    """Give what a sentence names, in order, code before names where they overlap."""
    code = [
        _Mention(entity, match.start(), match.end())
        for match in _CODE.finditer(sentence)
        if (entity := _entity(match[1] or match[2], "code")) is not None
    ]
    names = [
        mention
        for match in _NAME.finditer(sentence)
        if (mention := _named(match, inside)) is not None
        and not any(one.start < mention.end and mention.start < one.end for one in code)
    ]
    yield from sorted((*code, *names), key=lambda mention: mention.start)


def _named(match: re.Match[str], inside: set[str]) -> _Mention | None:
    """Give a name without the words before it that are large for another reason; None where none is left."""
    start, name = match.start(), match[0]
    while (first := name.split()[0]).lower() in _BEFORE_NAMES and not _ACRONYM.fullmatch(first):
        rest = name[len(first) :].lstrip()
        rest = re.sub(rf"^{_LINK}", "", rest)
        if not rest:
            return None
        start, name = match.end() - len(rest), rest
    alone = len(name.split()) == 1
    if alone and len(name) < 2:
        return None
    kind = "acronym" if _ACRONYM.fullmatch(name) else "name"
    if alone and kind == "name" and name not in inside and _begins(match.string[:start]):
        kind = WORD
    entity = _entity(name, kind)
    return None if entity is None else _Mention(entity, start, match.end())


def _begins(before: str) -> bool:
    """Tell whether any word has a capital after this."""
    before = before.rstrip(" \t\n*_\"'“‘(#>-")
    return not before or before[-1] in ".!?:|"


def _inside(text: str) -> set[str]:
    """Give the single words that have a capital within a sentence somewhere in a text."""
    return set(re.findall(rf"(?<=[a-zà-ÿ,;] )([{_UPPER}][\w’'-]+)", text))


def _entity(name: str, kind: str) -> Entity | None:
    name = " ".join(name.split()).strip(" .,;:*_#\"'“”‘’()[]{}")
    words = name.split()
    if not words or len(words) > MAX_NAME_WORDS or len(name) > MAX_NAME_CHARS or not any(map(str.isalpha, name)):
        return None
    key = key_of(name)
    return Entity(key=key, name=name, kind=kind) if len(key) > 1 and key not in FUNCTION_WORDS else None


def _related(sentence: str, mentions: Sequence[_Mention]) -> Iterator[Relation]:
    """Relate all that a sentence names to each other, neighbours by what stands between them."""
    some = [mention for mention in mentions if mention.entity.kind != WORD][:MAX_IN_SENTENCE]
    for (place, one), (other_place, other) in combinations(enumerate(some), 2):
        if one.entity.key != other.entity.key:
            near = other_place == place + 1
            label = _label(sentence[one.end : other.start]) if near else TOGETHER
            yield Relation(subject=one.entity.key, label=label, object=other.entity.key)


def _label(between: str) -> str:
    words = _LABEL_WORD.findall(between)
    label = " ".join(words)
    short = 0 < len(words) <= MAX_LABEL_WORDS and len(label) <= MAX_LABEL_CHARS
    return label if short and not _CLAUSE.search(between) else TOGETHER
