import json
from pathlib import Path

import pytest

from rag.errors import InvalidCollection
from rag.evaluate.collection import load_beir, load_squad

CORPUS = '{"_id": "a", "title": "Soil", "text": "Loam\u2028is rich."}\n{"_id": "b", "text": "Clay is dense."}\n'
QUERIES = '{"_id": "1", "text": "What is rich?"}\n{"_id": "2", "text": "Who?"}\n{"_id": "3", "text": "Why?"}\n'
QRELS = "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n1\tgone\t1\n2\tb\t0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.jsonl").write_text(CORPUS, encoding="utf-8")
    (tmp_path / "queries_test.jsonl").write_text(QUERIES)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


def test_a_text_begins_with_its_title(folder: Path) -> None:
    loaded = load_beir(folder)
    assert (loaded.ids, loaded.texts) == (["a", "b"], ["Soil\n\nLoam\u2028is rich.", "Clay is dense."])


def test_only_questions_with_a_right_text_are_asked_and_grade_0_is_not_right(folder: Path) -> None:
    assert [(one.id, one.relevant) for one in load_beir(folder).questions] == [("1", {0: 2})]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{', "corpus.jsonl, line 2, is not JSON"),
        ("corpus.jsonl", '{"_id": 1, "text": "x"}\n', "line 1, has no text '_id'.*BEIR's layout"),
        ("corpus.jsonl", "[]\n", "line 1, is not an object"),
        ("qrels/test.tsv", "1\ta\t1\n1\tb\t1\n", "test.tsv is not a table of grades"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\ta\tgood\n", "is not a table of grades"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(folder: Path, name: str, content: str, reason: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(InvalidCollection, match=reason):
        load_beir(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCollection, match=r"corpus\.jsonl cannot be read"):
        load_beir(tmp_path)


def test_squad_asks_what_has_an_answer_of_its_paragraph(tmp_path: Path) -> None:
    asked = [
        {"id": "q1", "question": "When?", "answers": [{"text": "1973", "answer_start": 0}]},
        {"id": "q2", "question": "Who?", "answers": []},
    ]
    paragraphs = [{"context": "First.", "qas": []}, {"context": "1973.", "qas": asked}]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"title": "Oil_crisis", "paragraphs": paragraphs}]}))
    loaded = load_squad(path)
    assert (loaded.ids, loaded.titles) == (["Oil crisis 1", "Oil crisis 2"], ["Oil crisis", "Oil crisis"])
    assert [(one.id, one.text, one.relevant) for one in loaded.questions] == [("q1", "When?", {1: 1})]


@pytest.mark.parametrize("content", ["[]", '{"data": [{}]}', "{", '{"data": [{"paragraphs": [{"qas": [{}]}]}]}'])
def test_what_is_not_squad_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidCollection, match="not in SQuAD's format"):
        load_squad(tmp_path / "a.json")
