"""`loam models export`: a tuned model for other programs, merged into one piece or as an adapter."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.cli.output import print_json, size
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from finetune.export.merge import Told
    from finetune.export.write import Exported

_TARGET = click.Path(file_okay=False, resolve_path=True, path_type=Path)


@click.command()
@click.argument("model_id", metavar="ID")
@click.option("--merged", type=_TARGET, metavar="DIR", help="Write the whole model, its adapter merged in, there.")
@click.option("--adapter", type=_TARGET, metavar="DIR", help="Copy what the tuning made, with its manifest, there.")
@click.option(
    "--dtype",
    type=click.Choice(["bfloat16", "float16", "float32"]),
    help="What the merged weights are kept in; else what the base computes in.",
)
@json_option
@pass_session
def export(
    session: Session, model_id: str, merged: Path | None, adapter: Path | None, dtype: str | None, as_json: bool
) -> None:
    """Write a tuned model out for other programs.

    Merged it is a folder that transformers, vLLM and others load, with a model card and a Modelfile for Ollama.
    """
    from finetune.export.write import export_adapter, export_merged

    if (merged is None) == (adapter is None):
        raise click.UsageError("Give either --merged DIR or --adapter DIR.")
    if merged is None and dtype is not None:
        raise click.UsageError("--dtype is for --merged: an adapter is copied as it is.")
    tuned, traces = _tuned(session, model_id)
    if merged is not None:
        with _progress(shown=not as_json) as told:
            done = export_merged(tuned, merged, name=model_id, dtype=dtype, traces=traces, told=told)
    else:
        assert adapter is not None  # one of the two was given
        done = export_adapter(tuned, adapter, name=model_id)
    _show(done, as_json=as_json)


def _tuned(session: Session, model_id: str) -> tuple[Path, Path | None]:
    """Give the folder of a tuned model, and the record of its training if that is there. Raises NotFound."""
    from finetune.parity.trace import TRACES
    from services.errors import NotFound
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.tuned_models import find_tuned_model

    with session.services() as services, services.database.read() as database:
        row = find_tuned_model(database, DEFAULT_PROJECT, model_id)
        if row is None:
            raise NotFound(f"There is no tuned model {model_id!r}. 'loam models list' shows those there are.")
        folder = Path(row.folder)
    # A checkpoint lies one folder deeper than the model at the end.
    recorded = (folder.parent / TRACES, folder.parent.parent / TRACES)
    return folder, next((path for path in recorded if path.is_file()), None)


@contextmanager
def _progress(*, shown: bool) -> "Iterator[Told]":
    """Show how far an export has come, on stderr."""
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from transformers.utils.logging import disable_progress_bar

    # Those of transformers would be shown among this one.
    disable_progress_bar()
    with Progress(console=Console(stderr=True), transient=True, disable=not shown) as progress:
        bars: dict[str, TaskID] = {}

        def told(stage: str, share: float) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=1.0)
            progress.update(bars[stage], completed=share)

        yield told


def _show(done: "Exported", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json({**asdict(done), "folder": str(done.folder)})
        return
    click.echo(f"Wrote {done.folder} ({size(done.size_bytes)}).")
    if done.fidelity is not None:
        click.echo(
            f"Against the served model, over {done.fidelity.tokens} tokens: KL divergence "
            f"{done.fidelity.kl_per_token:.2e} nats a token, the same likeliest token in "
            f"{done.fidelity.greedy_agreement:.2%}."
        )
    elif done.dtype is not None:
        click.echo("It was not compared with the served model: there is no record of its training.")
