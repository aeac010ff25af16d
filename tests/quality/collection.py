"""Test collections: texts, questions, which texts are right, and how well a ranking found them."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Question:
    """`relevant` maps the positions of the texts that answer it to their grades."""

    text: str
    relevant: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Collection:
    titles: Sequence[str]
    texts: Sequence[str]
    questions: Sequence[Question]


def load_beir(folder: Path, *, queries: str = "queries.jsonl", split: str = "test") -> Collection:
    """Read a folder in BEIR's layout; a text begins with its title, as in the published figures."""
    corpus = _json_lines(folder / "corpus.jsonl")
    position = {row["_id"]: index for index, row in enumerate(corpus)}
    grades: dict[str, dict[int, int]] = {}
    with (folder / "qrels" / f"{split}.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["corpus-id"] in position:
                grades.setdefault(row["query-id"], {})[position[row["corpus-id"]]] = int(row["score"])
    return Collection(
        titles=["" for _ in corpus],
        texts=[f"{row['title']}\n\n{row['text']}".strip() for row in corpus],
        questions=[
            Question(row["text"], grades[row["_id"]]) for row in _json_lines(folder / queries) if row["_id"] in grades
        ],
    )


def load_squad(path: Path) -> Collection:
    """Read SQuAD's paragraphs and those of its questions that have an answer."""
    titles, texts, questions = [], [], []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            answerable = [qa for qa in paragraph["qas"] if qa["answers"]]
            questions += [Question(qa["question"], {len(texts): 1}) for qa in answerable]
            titles.append(article["title"].replace("_", " "))
            texts.append(paragraph["context"])
    return Collection(titles, texts, questions)


def ndcg(ranking: Sequence[int], relevant: Mapping[int, int], k: int = 10) -> float:
    """Discounted gain of the first k, as a share of the best possible; gains are the grades (as in BEIR)."""
    return _dcg([relevant.get(text, 0) for text in ranking[:k]]) / _dcg(sorted(relevant.values(), reverse=True)[:k])


def recall(ranking: Sequence[int], relevant: Mapping[int, int], k: int) -> float:
    return len(relevant.keys() & set(ranking[:k])) / len(relevant)


def reciprocal_rank(ranking: Sequence[int], relevant: Mapping[int, int], k: int = 10) -> float:
    return next((1 / rank for rank, text in enumerate(ranking[:k], start=1) if text in relevant), 0.0)


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _json_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
