import json
from pathlib import Path

import pytest

from rag.errors import InvalidCollection
from rag.evaluate.questions import Asked, load_questions, squad_paragraphs

LINE = {"question": "How many?", "answer": "Thirty.", "sources": ["leave.md"], "key_points": ["Thirty days."]}


def save(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_lines_are_read_with_what_they_know(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jsonl", LINE, {"id": "x", "question": "Who?"}, {"question": "Why?", "answerable": True})
    assert load_questions(path) == [
        Asked(
            id="1",
            text="How many?",
            answerable=True,
            answers=("Thirty.",),
            sources=("leave.md",),
            key_points=("Thirty days.",),
        ),
        Asked(id="x", text="Who?", answerable=False),
        Asked(id="3", text="Why?", answerable=True),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": " "}, "line 2, has no text 'question'"),
        ({"question": "a", "answr": "b"}, "line 2, has 'answr', which is not known"),
        ({"question": "a", "answers": [1]}, "'answers' that are not texts"),
        ({"question": "a", "answerable": "yes"}, "not true or false"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, row: object, reason: str) -> None:
    with pytest.raises(InvalidCollection, match=reason):
        load_questions(save(tmp_path / "a.jsonl", LINE, row))


def test_squad_names_the_paragraph_that_answers(tmp_path: Path) -> None:
    asked = [{"id": "q", "question": "When?", "answers": [{"text": "1973"}, {"text": "1973"}]}]
    none = [{"id": "n", "question": "Who?", "answers": []}]
    paragraphs = [{"context": "No.", "qas": none}, {"context": "1973.", "qas": asked}]
    path = save(tmp_path / "a.json", {"data": [{"title": "AC/DC_crisis", "paragraphs": paragraphs}]})
    assert load_questions(path) == [
        Asked(id="n", text="Who?", answerable=False),
        Asked(id="q", text="When?", answerable=True, answers=("1973",), sources=("AC-DC crisis 2.txt",)),
    ]
    assert squad_paragraphs(path) == {"AC-DC crisis 1.txt": "No.", "AC-DC crisis 2.txt": "1973."}
