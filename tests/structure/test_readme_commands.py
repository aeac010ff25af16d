"""The papers do not lie: their commands, links and paths are those of this tree."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from prompts import Templates
from services.cli.main import cli

ROOT = Path(__file__).parents[2]
PAPERS = sorted(path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.parts))
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
CODE_PATH = re.compile(r"`((?:rag|services|prompts|finetune|deploy|tests)/[\w./*<>-]*(?:/|\.\w+))`")


def commands(paper: Path) -> Iterator[list[str]]:
    for block in BLOCK.findall(paper.read_text(encoding="utf-8")):
        yield from (shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines() if line)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("paper", PAPERS, ids=named)
def test_every_make_command_is_a_verb_of_the_makefile(paper: Path) -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {word for words in commands(paper) if words[0] == "make" for word in words[1:] if "=" not in word}
    assert used <= verbs


@pytest.mark.parametrize("paper", PAPERS, ids=named)
def test_every_loam_command_parses(paper: Path) -> None:
    for words in commands(paper):
        if words[0] == "loam":
            parse(cli, words[1:])


def parse(command: click.Command, words: list[str]) -> None:
    context = click.Context(command, info_name=command.name, resilient_parsing=True)
    _, left, _ = command.make_parser(context).parse_args(list(words))
    if isinstance(command, click.Group):
        child = command.get_command(context, left[0])
        assert child is not None, f"loam has no verb {left[0]!r}"
        parse(child, words[words.index(left[0]) + 1 :])


@pytest.mark.parametrize("paper", PAPERS, ids=named)
def test_every_link_leads_to_a_file(paper: Path) -> None:
    targets = [paper.parent / target for target in LINK.findall(paper.read_text(encoding="utf-8"))]
    assert [str(target) for target in targets if not target.exists()] == []


@pytest.mark.parametrize("paper", PAPERS, ids=named)
def test_every_path_that_is_named_exists(paper: Path) -> None:
    paths = [path for path in CODE_PATH.findall(paper.read_text(encoding="utf-8")) if "<" not in path]
    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []


def test_ci_runs_the_commands_that_the_readme_begins_with() -> None:
    first = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0].split("\n")
    in_ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    verbs = set(re.findall(r"\w+", " ".join(re.findall(r"^make (.+)$", in_ci, re.MULTILINE))))
    assert {line.removeprefix("make ") for line in first if line} <= verbs


def test_every_template_is_in_the_table_of_prompts() -> None:
    table = (ROOT / "prompts" / "README.md").read_text(encoding="utf-8")
    assert [name for name in Templates().names() if f"`{name}`" not in table] == []
