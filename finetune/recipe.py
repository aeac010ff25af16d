"""Reads a recipe: a tuning job written down as YAML. Unknown keys and wrong values are told with their line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from finetune.config import Recipe
from finetune.errors import InvalidRecipe

FILES = ("training_file", "validation_file")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe, whose files are named from its own folder. Raises InvalidRecipe with every problem."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        fields = yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        line = f", line {exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise InvalidRecipe(f"{path}{line}: not valid YAML: {exc.problem}.") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise InvalidRecipe(f"{path}: not valid YAML: it holds what is not text.") from exc
    except OSError as exc:
        raise InvalidRecipe(f"{path}: cannot be read: {exc.strerror}.") from exc
    if not isinstance(fields, dict):
        raise InvalidRecipe(f"{path}: must be a mapping, such as 'model: Qwen/Qwen3-4B'.")
    lines = dict(_lines(node, ()))
    try:
        recipe = Recipe.model_validate(fields)
    except ValidationError as exc:
        raise InvalidRecipe("\n".join(_problems(exc, path, lines))) from None
    return _with_files(recipe, path, lines)


Place = tuple[int | str, ...]


def _lines(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, int]]:
    """Give the line of each key and item, by the way to it."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), key.start_mark.line + 1
            yield from _lines(value, (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*place, index), value.start_mark.line + 1
            yield from _lines(value, (*place, index))


def _problems(error: ValidationError, path: Path, lines: Mapping[Place, int]) -> Iterator[str]:
    seen = set()
    for item in error.errors():
        known = item["type"] != "extra_forbidden"
        # What may be of several types has a problem for each of them, with the type's name at the end of the way.
        place = _written(item["loc"], lines) if known else item["loc"]
        said = item["msg"].removeprefix("Value error, ") if known else "there is no such setting"
        problem = f"{_where(place, path, lines)}: {_dotted(place)}{said[:1].lower()}{said[1:]}."
        if problem not in seen:
            seen.add(problem)
            yield problem


def _written(place: Place, lines: Mapping[Place, int]) -> Place:
    """Give as much of the way to a value as the recipe has, or where it is missing from."""
    for end in range(len(place), 0, -1):
        if place[:end] in lines:
            return place[:end]
    return place


def _where(place: Place, path: Path, lines: Mapping[Place, int]) -> str:
    line = lines.get(place)
    return f"{path}, line {line}" if line else str(path)


def _dotted(place: Place) -> str:
    return f"{'.'.join(map(str, place))}: " if place else ""


def _with_files(recipe: Recipe, path: Path, lines: Mapping[Place, int]) -> Recipe:
    files: dict[str, Any] = {}
    for name in FILES:
        file = getattr(recipe, name)
        if file is None:
            continue
        files[name] = path.parent / file
        if not files[name].is_file():
            raise InvalidRecipe(f"{_where((name,), path, lines)}: {name}: there is no file {str(files[name])!r}.")
    return recipe.model_copy(update=files)
