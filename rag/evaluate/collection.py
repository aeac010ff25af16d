"""Test collections: texts, questions, and which texts are right.

Two layouts are read: BEIR's folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv; Thakur et al. 2021)
and SQuAD's JSON, whose paragraphs are the texts. A grade of 0 is of a text that was judged and found
wrong; questions without a right text measure nothing and are left out.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import InvalidCollection

LAYOUT = "BEIR's layout is corpus.jsonl and queries.jsonl (_id, text) and qrels/SPLIT.tsv (query-id, corpus-id, score)."


@dataclass(frozen=True, slots=True)
class Question:
    """`relevant` maps the positions of the texts that answer it to their grades, 1 or more."""

    id: str
    text: str
    relevant: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """`ids`, `titles` and `texts` are of the same things, in the same order."""

    name: str
    ids: Sequence[str]
    titles: Sequence[str]
    texts: Sequence[str]
    questions: Sequence[Question]


def load_beir(folder: Path, *, queries: str | None = None, split: str = "test") -> Collection:
    """Read a folder in BEIR's layout; a text begins with its title, as in the published figures.

    The queries are in `queries.jsonl`, else in `queries_SPLIT.jsonl`. Raises InvalidCollection.
    """
    corpus = list(_rows(folder / "corpus.jsonl", "_id", "text"))
    position = {row["_id"]: place for place, row in enumerate(corpus)}
    grades = _grades(folder / "qrels" / f"{split}.tsv", position)
    asked = _rows(_queries(folder, queries, split), "_id", "text")
    return Collection(
        name=f"{folder.resolve().name} ({split})",
        ids=list(position),
        titles=["" for _ in corpus],
        texts=[f"{row.get('title') or ''}\n\n{row['text']}".strip() for row in corpus],
        questions=[Question(row["_id"], row["text"], grades[row["_id"]]) for row in asked if row["_id"] in grades],
    )


def load_squad(path: Path) -> Collection:
    """Read SQuAD's paragraphs and those of its questions that have an answer. Raises InvalidCollection."""
    ids: list[str] = []
    titles: list[str] = []
    texts: list[str] = []
    questions: list[Question] = []
    for article in squad_articles(path):
        for number, paragraph in enumerate(article["paragraphs"], start=1):
            answerable = [asked for asked in paragraph["qas"] if asked["answers"]]
            questions += [Question(str(asked["id"]), asked["question"], {len(texts): 1}) for asked in answerable]
            titles.append(article["title"].replace("_", " "))
            ids.append(f"{titles[-1]} {number}")
            texts.append(paragraph["context"])
    return Collection(name=path.name, ids=ids, titles=titles, texts=texts, questions=questions)


def squad_articles(path: Path) -> list[dict[str, Any]]:
    """Give the articles of a file in SQuAD's format. Raises InvalidCollection."""
    try:
        articles: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["data"]
        questions = [asked for one in articles for paragraph in one["paragraphs"] for asked in paragraph["qas"]]
        if all({"id", "question", "answers"} <= asked.keys() for asked in questions):
            return articles
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise InvalidCollection(f"{path} is not in SQuAD's format.", hint="It holds data[].paragraphs[].qas[].")


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the objects of a JSON Lines file with their line numbers. Raises InvalidCollection."""
    try:
        # Not splitlines: a line separator may stand inside a string.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidCollection(f"{path} cannot be read: {exc}.") from exc
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _object(path, number, line)


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as exc:
        raise InvalidCollection(f"{path}, line {number}, is not JSON: {exc}.") from exc
    if not isinstance(row, dict):
        raise InvalidCollection(f"{path}, line {number}, is not an object.")
    return row


def _rows(path: Path, *needed: str) -> Iterator[dict[str, str]]:
    for number, row in json_rows(path):
        missing = [name for name in needed if not isinstance(row.get(name), str)]
        if missing:
            raise InvalidCollection(f"{path}, line {number}, has no text {missing[0]!r}.", hint=LAYOUT)
        yield row


def _queries(folder: Path, queries: str | None, split: str) -> Path:
    names = [queries] if queries else ["queries.jsonl", f"queries_{split}.jsonl"]
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _grades(path: Path, position: Mapping[str, int]) -> dict[str, dict[int, int]]:
    """Give the grades above 0 by query and text; texts that the corpus lacks are left out, as BEIR does."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        judged = [(row["query-id"], row["corpus-id"], int(row["score"])) for row in rows]
    except OSError as exc:
        raise InvalidCollection(f"{path} cannot be read: {exc.strerror}.", hint=LAYOUT) from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidCollection(f"{path} is not a table of grades.", hint=LAYOUT) from exc
    grades: dict[str, dict[int, int]] = {}
    for query, text, grade in judged:
        if grade > 0 and text in position:
            grades.setdefault(query, {})[position[text]] = grade
    return grades
