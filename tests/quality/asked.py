"""Questions with what is known of their answers, and stores to ask them of, from the shared data sets."""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from rag.evaluate.collection import json_rows, squad_articles
from rag.index import StoreIndex
from rag.retrieve import retrieve
from rag.sentences import sentences
from rag.types import Hit
from tests.fakes.chunk_source import MemorySource
from tests.quality.kept import Kept

Search: TypeAlias = Callable[[str], Sequence[Hit]]

SEED = 5


class Kind(Enum):
    ANSWERABLE = "answerable"
    ADVERSARIAL = "adversarial"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question to a store; `half` 0 was fitted on, 1 was not; articles are never split.

    `passage` and `answers`, as (start, text) in it, are given where the answer is known.
    """

    question: str
    kind: Kind
    half: int
    passage: str = ""
    answers: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Questions that are asked of one store."""

    name: str
    search: Search
    asked: tuple[Asked, ...]


def open_store(passages: Iterable[tuple[str, str]], embedder: Kept, folder: Path) -> Search:
    """Give the search of a store that holds these passages, (title, text) each."""
    source = MemorySource()
    titled = list(passages)
    texts = [text for _, text in titled]
    spans = [sentences(text) for text in texts]
    vectors = embedder.embed_spans(texts, spans)
    # Most of them will be asked for; in one go they take less time.
    embedder.embed([text[span.start : span.end] for text, inside in zip(texts, spans, strict=True) for span in inside])
    for number, ((title, text), found) in enumerate(zip(titled, vectors, strict=True), start=1):
        source.add(number, text, found[0], title=title, sentences=found[1:])
    index = StoreIndex(folder, embedder_id=embedder.id, dimensions=embedder.dimensions)
    return lambda question: retrieve(question, index=index, source=source, embedder=embedder)


def rounds(data: Path, embedder: Kept, folder: Path) -> Iterator[Round]:
    """Give all rounds: SQuAD's own questions, and foreign ones in both directions, large and tiny stores."""
    draw = random.Random(SEED)
    articles = squad_articles(data / "qa/squad/dev-v2.0.part.json")
    known = {article["title"] for article in articles}
    others = [one for one in squad_articles(data / "qa/squad/dev-v1.1.part.json") if one["title"] not in known]
    own = [asked for number, article in enumerate(articles) for asked in squad_questions(article, half=number % 2)]
    squad = open_store(paragraphs(articles), embedder, folder / "squad")
    yield Round(name="squad", search=squad, asked=tuple(own))
    yield Round(name="other articles → squad", search=squad, asked=_foreign(draw.sample(_questions(others), 800)))
    for name, questions in _questions_on_other_matters(data):
        yield Round(name=f"{name} → squad", search=squad, asked=_foreign(questions))
    for name, passages in _other_texts(data, others, draw):
        store = open_store(passages, embedder, folder / name)
        asked = [(one.question, one.half) for one in draw.sample(own, 800 if len(passages) > 1 else 200)]
        yield Round(name=f"squad → {name}", search=store, asked=_halved(asked))


def _questions_on_other_matters(data: Path) -> Iterator[tuple[str, list[str]]]:
    yield "scifact", [row["text"] for _, row in json_rows(data / "retrieval/scifact/queries_test.jsonl")]
    yield "cranfield", [row["text"] for _, row in json_rows(data / "retrieval/cranfield/queries.jsonl")]
    manual = json.loads((data / "rag/anthropic_docs/evaluation/docs_evaluation_dataset.json").read_text())
    yield "anthropic_docs", [row["question"] for row in manual]


def _other_texts(
    data: Path, others: Sequence[dict[str, Any]], draw: random.Random
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Give the passages, (title, text) each, of stores that hold no answer to SQuAD's questions."""
    manual = json.loads((data / "rag/anthropic_docs/data/anthropic_docs.json").read_text())
    yield "anthropic_docs", [(row["chunk_heading"], row["text"]) for row in manual]
    abstracts = draw.sample([row for _, row in json_rows(data / "retrieval/scifact/corpus.jsonl")], 500)
    yield "scifact", [(row["title"], row["text"]) for row in abstracts]
    for number, article in enumerate(draw.sample(others, 4), start=1):
        yield f"one paragraph ({number})", [draw.choice(list(paragraphs([article])))]


def paragraphs(articles: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for article in articles:
        for paragraph in article["paragraphs"]:
            yield article["title"].replace("_", " "), paragraph["context"]


def _questions(articles: Iterable[dict[str, Any]]) -> list[str]:
    return [
        asked["question"] for article in articles for paragraph in article["paragraphs"] for asked in paragraph["qas"]
    ]


def squad_questions(article: dict[str, Any], *, half: int) -> Iterator[Asked]:
    for paragraph in article["paragraphs"]:
        for asked in paragraph["qas"]:
            yield Asked(
                question=asked["question"],
                kind=Kind.ADVERSARIAL if asked["is_impossible"] else Kind.ANSWERABLE,
                half=half,
                passage=paragraph["context"],
                answers=tuple((answer["answer_start"], answer["text"]) for answer in asked["answers"]),
            )


def _foreign(questions: Sequence[str]) -> tuple[Asked, ...]:
    return _halved([(question, number % 2) for number, question in enumerate(questions)])


def _halved(questions: Iterable[tuple[str, int]]) -> tuple[Asked, ...]:
    return tuple(Asked(question=question, kind=Kind.FOREIGN, half=half) for question, half in questions)
