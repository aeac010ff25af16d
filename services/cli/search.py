"""`loam search`: the passages that a question finds, with why."""

import gc
from typing import TYPE_CHECKING, Any

import click

from services.cli.output import print_json
from services.cli.session import Session, json_option, named_store, pass_session, store_option

if TYPE_CHECKING:
    from rag.types import Hit

SHOWN_CHARACTERS = 300


@click.command()
@click.argument("query")
@store_option
@click.option(
    "-n", "--max-results", type=click.IntRange(1, 50), default=10, show_default=True, help="How many at most."
)
@json_option
@pass_session
def search(session: Session, query: str, store: str, max_results: int, as_json: bool) -> None:
    """Find passages in a vector store."""
    # The process ends before garbage matters; looking for it would take a tenth of the time.
    gc.disable()
    from rag.retrieve import SearchOptions
    from services.storage.tables import DEFAULT_PROJECT

    with session.services(embedding=True) as services:
        with services.database.read() as database:
            store_id = named_store(database, store).id
        options = SearchOptions(max_results=max_results)
        hits = services.searching.search(DEFAULT_PROJECT, [store_id], query, options)
    if as_json:
        print_json([_public(hit) for hit in hits])
        return
    for hit in hits:
        _show(hit)
    if not hits:
        click.echo("Nothing was found.", err=True)


def _show(hit: "Hit") -> None:
    passage = hit.passage
    place = [passage.filename, *([f"page {passage.page}"] if passage.page else []), *passage.heading_path[-1:]]
    click.secho(f"{hit.rank}. {', '.join(place)}", bold=True, nl=False)
    click.echo(f"  {hit.score:.2f}")
    text = " ".join(passage.text.split())
    if hit.graph_path:
        click.echo(f"   by {' → '.join(hit.graph_path)}")
    click.echo(f"   {text[:SHOWN_CHARACTERS]}{'…' if len(text) > SHOWN_CHARACTERS else ''}\n")


def _public(hit: "Hit") -> dict[str, Any]:
    passage = hit.passage
    return {
        "rank": hit.rank,
        "score": hit.score,
        "cosine": hit.cosine,
        "sentence_cosine": hit.sentence_cosine,
        "bm25": hit.bm25,
        "phrases": hit.phrases,
        "fused": hit.fused,
        "rerank": hit.rerank,
        "graph_path": list(hit.graph_path) or None,
        "file_id": passage.file_id,
        "filename": passage.filename,
        "page": passage.page,
        "heading_path": list(passage.heading_path),
        "start": passage.start,
        "end": passage.end,
        "text": passage.text,
    }
