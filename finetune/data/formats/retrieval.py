"""Readers of the formats that give queries with the passages to be found."""

from collections.abc import Iterable

from finetune.data.decode import described
from finetune.data.formats.row import Row
from finetune.types import Retrieval

PASSAGES = ("passage", "positive", "pos", "positives", "passages")
NEGATIVES = ("negative", "neg", "negatives", *(f"negative_{number}" for number in range(1, 10)))
"""Keys under which passages stand, as a text or a list of texts; all that a record has are read."""


def read_retrieval(row: Row) -> Retrieval:
    """`query` with `passage`, `positive` or `pos`, and `negative`, `negatives` or `neg`."""
    return _retrieval(row, "query", PASSAGES)


def read_anchored(row: Row) -> Retrieval:
    """sentence-transformers' `anchor`, `positive` and `negative`, or `negative_1`, `negative_2` and so on."""
    return _retrieval(row, "anchor", PASSAGES)


def read_question_context(row: Row) -> Retrieval:
    """`question` and `context`, the passage that answers it."""
    return _retrieval(row, "question", ("context",))


def _retrieval(row: Row, query: str, passages: Iterable[str]) -> Retrieval:
    asked = row.needed_text(query)
    if isinstance(row.value.get(query), str):
        _check(row, row.at(query), asked)
    named = [key for key in passages if row.has(key)]
    if not named:
        row.missing(next(iter(passages)))
    right = [text for key in named for text in _texts(row, key)]
    wrong = [text for key in NEGATIVES if row.has(key) for text in _texts(row, key, among=right)]
    return Retrieval(query=asked, passages=tuple(right), negatives=tuple(wrong))


def _texts(row: Row, key: str, among: Iterable[str] = ()) -> list[str]:
    """Read a text or a list of texts, none of which may be `among` the right ones."""
    value = row.value[key]
    listed = isinstance(value, list)
    if listed and not value and key in PASSAGES:
        row.note("empty_list", row.at(key), "is an empty list")
    read = []
    for index, text in enumerate(value if listed else [value]):
        path = f"{row.at(key)}[{index}]" if listed else row.at(key)
        if not isinstance(text, str):
            row.note("wrong_type", path, f"is {described(text)}, not a string")
            continue
        _check(row, path, text)
        if text in among:
            row.note("right_and_wrong", path, "is among the passages that answer the query")
        read.append(text)
    return read


def _check(row: Row, path: str, text: str) -> None:
    if "\0" in text:
        row.note("nul", path, "holds NUL characters")
    if not text.strip():
        row.note("empty_text", path, "is empty")
