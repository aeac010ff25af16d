"""Prompt templates: Jinja2 files with YAML front matter, rendered strictly.

A template says in its front matter what it is for and which variables it takes; a template whose
body uses others does not load, and rendering with more or fewer fails. The content hash of the
whole file identifies the wording.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import jinja2.sandbox
import yaml

from prompts.errors import InvalidPrompt, MissingVariable, UnknownPrompt
from prompts.messages import Message, Role

BUILT_IN = Path(__file__).parent
SUFFIX = ".jinja"
_FIELDS = {"name": str, "version": int, "purpose": str, "role": str, "variables": dict, "why": str}


def fenced(text: str, tag: str) -> str:
    """Take from a text what would close or open a fence of that tag, so that it stays inside its own."""
    return re.sub(rf"<(?=\s*/?\s*{re.escape(tag)}\b)", "&lt;", text, flags=re.IGNORECASE)


_environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)
_environment.filters["fenced"] = fenced


@dataclass(frozen=True)
class Template:
    """One prompt: what its front matter says, its body and the hash of both.

    `variables` maps each variable's name to a sentence on what it holds; `role` is the role in
    which the rendered text is sent.
    """

    name: str
    version: int
    purpose: str
    role: Role
    variables: Mapping[str, str]
    why: str
    body: str = field(repr=False)
    content_hash: str

    def render(self, **values: Any) -> str:
        """Give the text. Raises MissingVariable unless exactly the declared variables are given."""
        if values.keys() != self.variables.keys():
            missing = sorted(self.variables.keys() - values.keys())
            unknown = sorted(values.keys() - self.variables.keys())
            raise MissingVariable(f"Prompt {self.name!r}: missing variables {missing}, unknown variables {unknown}.")
        try:
            return self._compiled.render(**values).strip()
        except jinja2.UndefinedError as exc:
            raise MissingVariable(f"Prompt {self.name!r}: {exc}.") from exc

    def message(self, **values: Any) -> Message:
        """Give the rendered text as a message in the template's role."""
        return Message(self.role, self.render(**values))

    @cached_property
    def _compiled(self) -> jinja2.Template:
        return _environment.from_string(self.body)


class Templates:
    """The built-in templates, with those of a folder of the user's laid over them by name."""

    def __init__(self, overrides: Path | None = None) -> None:
        self._folders = [folder for folder in (overrides, BUILT_IN) if folder is not None]
        self._loaded: dict[str, Template] = {}

    def get(self, name: str) -> Template:
        """Give the template of that name. Raises UnknownPrompt, InvalidPrompt."""
        if name not in self._loaded:
            self._loaded[name] = load(self._find(name))
        return self._loaded[name]

    def names(self) -> list[str]:
        """Give the names of all templates, sorted."""
        return sorted({path.stem for folder in self._folders for path in folder.glob(f"*{SUFFIX}")})

    def _find(self, name: str) -> Path:
        for folder in self._folders:
            path = folder / f"{name}{SUFFIX}"
            if path.parent == folder and path.is_file():
                return path
        raise UnknownPrompt(f"No prompt template is called {name!r}; there are {', '.join(self.names())}.")


def load(path: Path) -> Template:
    """Read one template file. Raises InvalidPrompt with the file and the reason."""
    source = path.read_text(encoding="utf-8")
    front_matter, body = _split(source, path)
    meta = _checked(front_matter, path)
    if meta["name"] != path.stem:
        raise InvalidPrompt(f"{path}: the name in its front matter is {meta['name']!r}, the file's is {path.stem!r}.")
    try:
        used = jinja2.meta.find_undeclared_variables(_environment.parse(body))
    except jinja2.TemplateSyntaxError as exc:
        raise InvalidPrompt(f"{path}: {exc.message} (line {exc.lineno} of its body).") from exc
    if used != meta["variables"].keys():
        raise InvalidPrompt(f"{path}: declares the variables {sorted(meta['variables'])} but uses {sorted(used)}.")
    return Template(**meta, body=body, content_hash=hashlib.sha256(source.encode()).hexdigest())


def _split(source: str, path: Path) -> tuple[str, str]:
    opening, _, rest = source.partition("---\n")
    front_matter, closing, body = rest.partition("\n---\n")
    if opening.strip() or not closing:
        raise InvalidPrompt(f"{path}: begin with front matter between two lines of '---'.")
    return front_matter, body


def _checked(front_matter: str, path: Path) -> dict[str, Any]:
    try:
        meta = yaml.safe_load(front_matter)
    except yaml.YAMLError as exc:
        raise InvalidPrompt(f"{path}: its front matter is not YAML: {exc}.") from exc
    if not isinstance(meta, dict):
        raise InvalidPrompt(f"{path}: its front matter is not a mapping.")
    wrong = [f"{key} ({kind.__name__})" for key, kind in _FIELDS.items() if not isinstance(meta.get(key), kind)]
    wrong += [f"{key} (unknown)" for key in meta.keys() - _FIELDS.keys()]
    if wrong:
        raise InvalidPrompt(f"{path}: missing or wrong in its front matter: {', '.join(wrong)}.")
    if meta["role"] not in ("system", "user"):
        raise InvalidPrompt(f"{path}: role is {meta['role']!r}; it must be 'system' or 'user'.")
    return meta
