"""`loam ask`: one question, one answer whose citations can be checked."""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from services.cli.output import print_json
from services.cli.session import Session, json_option, named_store, pass_session

if TYPE_CHECKING:
    from rag.types import Answer
    from services.wiring import Services

store_option = click.option("--store", metavar="NAME", help="The vector store, by name or id; else those of the alias.")
model_option = click.option("--model", metavar="MODEL", default="default", help="What answers: a model or an alias.")


@click.command()
@click.argument("question")
@store_option
@model_option
@json_option
@pass_session
def ask(session: Session, question: str, store: str | None, model: str, as_json: bool) -> None:
    """Answer a question from your documents, or say that they do not."""
    # The process ends before garbage matters; looking for it would take a tenth of the time.
    gc.disable()
    with session.services(embedding=True) as services:
        answer = answer_from(services, [{"role": "user", "content": question}], store=store, model=model)
    if as_json:
        print_json(_public(answer, model))
    else:
        click.echo("\n".join(lines_of(answer)))


def answer_from(
    services: "Services", messages: Sequence[Mapping[str, Any]], *, store: str | None, model: str
) -> "Answer":
    """Answer the last of the messages from a store, or from those of the alias that `model` names.

    A model that writes words of its own may answer without documents.
    """
    from services.answering import FileSearch
    from services.answering import ask as ask_engine
    from services.storage.tables import DEFAULT_PROJECT

    name = services.settings.default if model == "default" else model
    alias = services.settings.aliases.get(name)
    bound = store is not None or bool(alias and alias.vector_stores)
    if not bound and not services.router.resolve(DEFAULT_PROJECT, model).generative:
        raise click.UsageError("Name the documents with --store, or an alias that binds some with --model.")
    search = None
    if store is not None:
        with services.database.read() as database:
            search = FileSearch(store_ids=(named_store(database, store).id,))

    async def turn() -> "Answer":
        try:
            return await ask_engine(services, DEFAULT_PROJECT, model=model, messages=messages, file_search=search)
        finally:
            await services.router.aclose()

    return asyncio.run(turn())


def lines_of(answer: "Answer") -> list[str]:
    """Give an answer for people: the text, then what is cited, each quote once."""
    cited = []
    for citation in answer.citations:
        page = f", page {citation.page}" if citation.page else ""
        quote = " ".join(citation.quote.split())
        cited.append(f'[{citation.index}] {citation.filename}{page}: "{quote}"')
    return [answer.text, "", *dict.fromkeys(cited)] if cited else [answer.text]


def _public(answer: "Answer", model: str) -> dict[str, Any]:
    from services.ids import CHUNK

    return {
        "answer": answer.text,
        "answered": answer.answered,
        **({} if answer.confidence is None else {"confidence": round(answer.confidence, 4)}),
        "model": model,
        "citations": [{**asdict(citation), "chunk_id": f"{CHUNK}{citation.chunk_id}"} for citation in answer.citations],
        "timings_ms": {stage: round(taken, 1) for stage, taken in answer.timings_ms.items()},
    }
