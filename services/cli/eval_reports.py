"""Where evaluations are written, and read again: JSON, Markdown and a picture each, in a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from services.cli.output import print_json

if TYPE_CHECKING:
    from rag.evaluate.report import Report

out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the reports go; else in the home.",
)


def run_argument(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An argument that names a run: its report.json, or the folder that holds it."""
    return click.argument(name, type=click.Path(exists=True, path_type=Path))


def read_run(path: Path) -> "Report":
    """Give the report of a run. Raises InvalidCollection."""
    from rag.evaluate.report import load_report

    return load_report(path / "report.json" if path.is_dir() else path)


def own_folder(home: Path, kind: str, source: Path) -> Path:
    """Give a folder that no earlier run has."""
    names = (f"{kind}-{source.resolve().stem}-{number}" for number in range(1, 1_000_000))
    return next(folder for name in names if not (folder := home / "evaluations" / name).exists())


def give(
    found: dict[str, Any], text: str, draw: Callable[[Path], None], *, name: str, folder: Path, as_json: bool
) -> None:
    """Write a report and show it, as JSON without its `cases`."""
    write(folder, name, found, text, draw)
    if as_json:
        print_json({**{key: value for key, value in found.items() if key != "cases"}, "folder": str(folder)})
        return
    click.echo(text)
    click.echo(f"Written to {folder}: {name}.json, {name}.md, {name}.png.", err=True)


def write(folder: Path, name: str, found: dict[str, Any], text: str, draw: Callable[[Path], None]) -> None:
    import json

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    draw(folder / f"{name}.png")
