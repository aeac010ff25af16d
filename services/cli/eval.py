"""`loam eval`: how well a store is searched and questions are answered, measured on collections with known answers."""

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from services.cli.eval_calibrate import CALIBRATION, FEATURES_BY, SOURCE, calibrate, calibrations
from services.cli.eval_reports import give, out_option, own_folder, run_argument, write
from services.cli.output import print_json
from services.cli.progress import progress_bar
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from rag.evaluate.collection import Collection
    from rag.evaluate.questions import Asked
    from rag.evaluate.report import Report
    from services.cli.eval_store import Opened
    from services.engines.router import Route
    from services.wiring import Services

SEED = 5

Item = TypeVar("Item")

store_option = click.option("--store", metavar="NAME", help="A store that is there, by name or id.")
fresh_option = click.option("--fresh", is_flag=True, help="A store made of the collection for this run alone.")
limit_option = click.option("--limit", type=click.IntRange(1), metavar="N", help="Ask N questions, drawn by a seed.")
path_argument = click.Path(exists=True, path_type=Path)


@click.group("eval")
def eval_() -> None:
    """Measure retrieval and answers, compare two runs, and calibrate models on them."""


@eval_.command()
@click.argument("collection", type=path_argument)
@store_option
@fresh_option
@click.option("--split", default="test", show_default=True, help="Which of BEIR's qrels.")
@limit_option
@out_option
@json_option
@pass_session
def retrieval(
    session: Session,
    collection: Path,
    store: str | None,
    fresh: bool,
    split: str,
    limit: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Ask a COLLECTION's questions: a folder in BEIR's layout, or a file in SQuAD's.

    In a store that is there, a text is the file whose name, without its suffix, is the text's id.
    """
    from rag.evaluate.collection import load_beir, load_squad

    _one_of(store=store, fresh=fresh)
    loaded = load_beir(collection, split=split) if collection.is_dir() else load_squad(collection)
    with session.services(embedding=True) as services, _of_collection(services, loaded, store) as opened:
        report = _retrieval(opened, loaded, limit)
        folder = out or own_folder(services.settings.home, "retrieval", collection)
    _give(report, folder, as_json)


@eval_.command()
@click.argument("questions", type=path_argument)
@store_option
@fresh_option
@click.option("--documents", type=path_argument, help="A store made of this file or folder for this run alone.")
@click.option("--model", default="default", metavar="MODEL", help="What answers: a model or an alias.")
@click.option("--uncalibrated", is_flag=True, help="Take the model at its word, whatever its calibration says.")
@limit_option
@out_option
@json_option
@pass_session
def answers(
    session: Session,
    questions: Path,
    store: str | None,
    fresh: bool,
    documents: Path | None,
    model: str,
    uncalibrated: bool,
    limit: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Ask the QUESTIONS of a file, in SQuAD's format or one a line as JSON.

    A line has question, and answer or answers where the documents have one; sources (file names), key_points, id
    and answerable are optional. --fresh makes a store of SQuAD's paragraphs.
    """
    from rag.evaluate.questions import load_questions

    _one_of(store=store, fresh=fresh, documents=documents)
    asked = _drawn(load_questions(questions), limit)
    with session.services(embedding=True) as services, _of_questions(services, questions, store, documents) as opened:
        report = _answers(opened, questions.name, asked, model, calibrated=not uncalibrated)
        folder = out or own_folder(services.settings.home, "answers", questions)
    _give(report, folder, as_json)


@eval_.command()
@run_argument("before")
@run_argument("after")
@out_option
@json_option
def compare(before: Path, after: Path, out: Path | None, as_json: bool) -> None:
    """Compare two runs, question by question: report.json BEFORE and AFTER, or the folders that hold them."""
    from dataclasses import asdict

    from rag.evaluate.compare import compare as compare_reports
    from rag.evaluate.compare import markdown
    from services.cli.eval_figures import draw_comparison
    from services.cli.eval_reports import read_run

    reports = [read_run(path) for path in (before, after)]
    comparison = compare_reports(*reports)
    found = asdict(comparison)
    for change, one in zip(found["changes"], comparison.changes, strict=True):
        change["beyond_chance"] = one.is_certain
    if out is not None:
        write(out, "comparison", found, markdown(comparison), lambda path: draw_comparison(comparison, path))
    print_json(found) if as_json else click.echo(markdown(comparison))


def _one_of(**given: object) -> None:
    if sum(bool(value) for value in given.values()) != 1:
        raise click.UsageError(f"Name one of {', '.join(f'--{name}' for name in given)}.")


def _of_collection(
    services: "Services", collection: "Collection", store: str | None
) -> AbstractContextManager["Opened"]:
    from services.cli.eval_store import filename_of, fresh_store_of_texts, opened_store

    if store is not None:
        return nullcontext(opened_store(services, store))
    named = zip(map(filename_of, collection.ids), collection.texts, strict=True)
    return fresh_store_of_texts(services, dict(named))


def _of_questions(
    services: "Services", questions: Path, store: str | None, documents: Path | None
) -> AbstractContextManager["Opened"]:
    from rag.evaluate.questions import squad_paragraphs
    from services.cli.eval_store import fresh_store, fresh_store_of_texts, opened_store

    if store is not None:
        return nullcontext(opened_store(services, store))
    if documents is not None:
        return fresh_store(services, [documents])
    return fresh_store_of_texts(services, squad_paragraphs(questions))


def _retrieval(opened: "Opened", collection: "Collection", limit: int | None) -> "Report":
    from dataclasses import replace

    from rag.evaluate.retrieval import DEPTH, evaluate_retrieval, positions
    from rag.retrieve import SearchOptions
    from services.cli.eval_store import text_id_of
    from services.errors import BadRequest
    from services.storage.tables import DEFAULT_PROJECT

    place = {text_id: number for number, text_id in enumerate(collection.ids)}
    held = place.keys() & {text_id_of(name) for name in opened.documents}
    if not held:
        raise BadRequest(
            f"{opened.name!r} holds none of the texts of {collection.name}. A text's file is named by its id; "
            "--fresh makes a store of the collection."
        )
    options = SearchOptions(max_results=DEPTH)

    def rank(question: str) -> list[int]:
        hits = opened.services.searching.search(DEFAULT_PROJECT, [opened.store_id], question, options)
        return list(positions((text_id_of(hit.passage.filename) for hit in hits), place))

    asked = replace(collection, questions=_drawn(collection.questions, limit))
    setup = _setup(opened) | {"texts in the store": f"{len(held)} of {len(collection.ids)}"}
    with progress_bar() as progress:
        bar = progress.add_task("Searching", total=len(asked.questions))
        return evaluate_retrieval(asked, rank, setup=setup, tell=lambda done: progress.update(bar, completed=done))


def _answers(opened: "Opened", name: str, asked: Sequence["Asked"], model: str, *, calibrated: bool) -> "Report":
    import asyncio

    from rag.confidence import features
    from rag.evaluate.answers import evaluate_answers
    from rag.types import Answer
    from services.answering import FileSearch, ask
    from services.storage.tables import DEFAULT_PROJECT

    services, search = opened.services, FileSearch(store_ids=(opened.store_id,))
    written_by = services.router.resolve(DEFAULT_PROJECT, model)
    setup = _setup(opened) | _of_model(services, written_by, calibrated=calibrated)
    with progress_bar() as progress, asyncio.Runner() as runner:
        bar = progress.add_task("Asking", total=len(asked))

        def answer(question: str) -> Answer:
            messages = [{"role": "user", "content": question}]
            turn = {"model": model, "messages": messages, "file_search": search, "calibrated": calibrated}
            return runner.run(ask(services, DEFAULT_PROJECT, **turn))

        def speaks_for(question: str, given: Answer) -> Mapping[str, float]:
            return features(question, given.text, given.citations, given.sources, services.embedder)

        try:
            return evaluate_answers(
                name,
                asked,
                answer,
                features=speaks_for if written_by.generative else None,
                setup=setup,
                tell=lambda done: progress.update(bar, completed=done),
            )
        finally:
            runner.run(services.router.aclose())


def _of_model(services: "Services", route: "Route", *, calibrated: bool) -> dict[str, str | int | float]:
    from services.calibrations import confidence_of, source_of
    from services.storage.tables import DEFAULT_PROJECT

    setup: dict[str, str | int | float] = {"model": route.model_id, "engine": route.engine.name}
    if not route.generative:
        return setup
    setup[FEATURES_BY] = services.embedder.id
    if source := source_of(services, DEFAULT_PROJECT, route.model_id):
        setup[SOURCE] = source
    if calibrated and (confidence := confidence_of(services, DEFAULT_PROJECT, route)):
        setup[CALIBRATION] = f"from {confidence.calibration.threshold:.3f} on"
    return setup


def _setup(opened: "Opened") -> dict[str, str | int | float]:
    from services.storage.generations import live_generation
    from services.storage.overview import store_overview
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.vector_stores import find_store
    from services.version import VERSION

    with opened.services.database.read() as database:
        row = find_store(database, DEFAULT_PROJECT, opened.store_id)
        assert row is not None
        chunks = store_overview(database, row).chunks
        embedder = live_generation(database, row.id).embedder
    return {
        "store": opened.name,
        "documents": len(opened.documents),
        "chunks": chunks,
        "embedder": embedder,
        "loam": VERSION,
    }


def _drawn(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Give some of the items, in their order."""
    if limit is None or limit >= len(items):
        return list(items)
    places = random.Random(SEED).sample(range(len(items)), limit)  # noqa: S311  it draws questions
    return [items[place] for place in sorted(places)]


def _give(report: "Report", folder: Path, as_json: bool) -> None:
    from rag.evaluate.report import markdown, public
    from services.cli.eval_figures import draw_report

    draw = partial(draw_report, report)
    give(public(report), markdown(report), draw, name="report", folder=folder, as_json=as_json)


eval_.add_command(calibrate)
eval_.add_command(calibrations)
eval = eval_
