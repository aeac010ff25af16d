"""What the models and aliases of `loam.yaml` come to together: who stands in for whom, and what cannot be.

A model's fallbacks are tried in order when it fails; each brings its own along, right behind itself. Only
what the file itself declares can be checked when it is read, so only that may stand in for another:
models of the file, the extractive engine, and Groq's own names behind `groq/`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from services.settings import Settings

DEFAULT: Final = "default"
EXTRACTIVE: Final = "extractive"
GROQ_PREFIX: Final = "groq/"

Place: TypeAlias = tuple[int | str, ...]
Problem: TypeAlias = tuple[Place, str]


def fallbacks_of(settings: "Settings", model_id: str, alias: str | None = None) -> tuple[str, ...]:
    """Give the models that stand in for one, in order: its own and theirs, then those of the alias."""
    declared = {model.id: model.fallbacks for model in settings.models}
    found, waiting = {model_id: None}, [*declared.get(model_id, ()), *_of_alias(settings, alias)]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting[:0] = declared.get(name, ())
    return tuple(found)[1:]


def problems_of(settings: "Settings") -> list[Problem]:
    """Give what is wrong between models and aliases, each with its place in the settings."""
    return [*_taken_twice(settings), *_unknown(settings), *_circles(settings)]


def _of_alias(settings: "Settings", alias: str | None) -> tuple[str, ...]:
    return () if alias is None else settings.aliases[alias].fallbacks


def _taken_twice(settings: "Settings") -> Iterator[Problem]:
    own = {DEFAULT, EXTRACTIVE, settings.embedder_name, settings.reranker_name}
    seen: dict[str, int] = {}
    for place, model in enumerate(settings.models):
        if model.id in own:
            yield ("models", place, "id"), f"the name {model.id!r} is loam's own; choose another"
        elif model.id in seen:
            yield ("models", place, "id"), f"the id {model.id!r} is that of models.{seen[model.id]} already"
        seen.setdefault(model.id, place)
    for name in settings.aliases:
        if name in own:
            yield ("aliases", name), f"the name {name!r} is loam's own; choose another"
        elif name in seen:
            yield ("aliases", name), f"the name {name!r} is that of models.{seen[name]} already"


def _unknown(settings: "Settings") -> Iterator[Problem]:
    known = {EXTRACTIVE, *(model.id for model in settings.models)}
    for place, name in _named(settings):
        if name not in known and name.removeprefix(GROQ_PREFIX) in ("", name):
            yield place, f"there is no model {name!r} among 'models' that could stand in"
    for place, names in _lists(settings):
        for name, times in Counter(names).items():
            if times > 1:
                yield place, f"names {name!r} {times} times"


def _circles(settings: "Settings") -> Iterator[Problem]:
    declared = {model.id: model.fallbacks for model in settings.models}
    for place, model in enumerate(settings.models):
        circle = _way_back(declared, model.id)
        # Each circle is told once, at the first of its models.
        if circle and min(circle, key=list(declared).index) == model.id:
            yield ("models", place, "fallbacks"), f"goes in a circle: {' → '.join((*circle, model.id))}"


def _way_back(declared: Mapping[str, tuple[str, ...]], start: str) -> tuple[str, ...]:
    """Give a way from a model over fallbacks to itself, if there is one."""
    ways: list[tuple[str, ...]] = [(start,)]
    been = set[str]()
    while ways:
        way = ways.pop(0)
        for name in declared.get(way[-1], ()):
            if name == start:
                return way
            if name not in been:
                been.add(name)
                ways.append((*way, name))
    return ()


def _lists(settings: "Settings") -> Iterator[tuple[Place, tuple[str, ...]]]:
    for place, model in enumerate(settings.models):
        yield ("models", place, "fallbacks"), model.fallbacks
    for name, alias in settings.aliases.items():
        yield ("aliases", name, "fallbacks"), alias.fallbacks


def _named(settings: "Settings") -> Iterator[tuple[Place, str]]:
    for place, names in _lists(settings):
        for number, name in enumerate(names):
            yield (*place, number), name
