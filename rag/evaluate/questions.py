"""Questions with what is known of their answers, from SQuAD's JSON or from JSON Lines.

A line is an object: `question`; `answer` or `answers`, texts any of which is right; optional are `id`,
`answerable` (else there is an answer or there is not), `sources` (the names of the files that hold the
answer) and `key_points` (what a full answer says, a sentence each).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import InvalidCollection
from rag.evaluate.collection import json_rows, squad_articles

LINE = (
    'A line is {"question": "…", "answers": ["…"], "sources": ["file.md"], "key_points": ["…"]}; the last two may lack.'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that the documents answer, or do not; `sources` are the names of the files that hold the answer."""

    id: str
    text: str
    answerable: bool
    answers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    key_points: tuple[str, ...] = ()


def load_questions(path: Path) -> list[Asked]:
    """Read the questions of a file. Raises InvalidCollection."""
    if _is_squad(path):
        return _of_squad(path)
    return [_of_line(path, number, row) for number, row in json_rows(path)]


def paragraph_name(title: str, number: int) -> str:
    """Give the file name of an article's paragraph, counted from 1: what a source of SQuAD's questions is called."""
    return f"{title.replace('_', ' ').replace('/', '-')} {number}.txt"


def squad_paragraphs(path: Path) -> dict[str, str]:
    """Give the paragraphs of a file in SQuAD's format by their file names. Raises InvalidCollection."""
    return {
        paragraph_name(article["title"], number): paragraph["context"]
        for article in squad_articles(path)
        for number, paragraph in enumerate(article["paragraphs"], start=1)
    }


def _is_squad(path: Path) -> bool:
    """Tell SQuAD's one object over all lines from an object a line."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return False
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except OSError as exc:
        raise InvalidCollection(f"{path} cannot be read: {exc.strerror}.") from exc
    except ValueError:
        return False


def _of_squad(path: Path) -> list[Asked]:
    return [
        Asked(
            id=str(asked["id"]),
            text=asked["question"],
            answerable=bool(asked["answers"]),
            answers=tuple(dict.fromkeys(answer["text"] for answer in asked["answers"])),
            sources=(paragraph_name(article["title"], number),) if asked["answers"] else (),
        )
        for article in squad_articles(path)
        for number, paragraph in enumerate(article["paragraphs"], start=1)
        for asked in paragraph["qas"]
    ]


def _of_line(path: Path, number: int, row: dict[str, Any]) -> Asked:
    where = f"{path}, line {number},"
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise InvalidCollection(f"{where} has no text 'question'.", hint=LINE)
    if unknown := row.keys() - {"id", "question", "answer", "answers", "answerable", "sources", "key_points"}:
        raise InvalidCollection(f"{where} has {sorted(unknown)[0]!r}, which is not known.", hint=LINE)
    answers = _texts(where, row, "answers") or _texts(where, row, "answer")
    answerable = row.get("answerable", bool(answers))
    if not isinstance(answerable, bool):
        raise InvalidCollection(f"{where} has an 'answerable' that is not true or false.", hint=LINE)
    return Asked(
        id=str(row.get("id", number)),
        text=text,
        answerable=answerable,
        answers=answers,
        sources=_texts(where, row, "sources"),
        key_points=_texts(where, row, "key_points"),
    )


def _texts(where: str, row: dict[str, Any], name: str) -> tuple[str, ...]:
    given = row.get(name)
    texts: Sequence[Any] = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidCollection(f"{where} has {name!r} that are not texts.", hint=LINE)
    return tuple(texts)
