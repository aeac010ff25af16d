"""Dense ranking of a collection's whole texts, and its questions as a training file."""

import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer

from rag.evaluate.collection import Collection, Question
from rag.evaluate.ranking import ndcg
from rag.ports import Vectors


def save_questions(collection: Collection, path: Path, *, count: int | None = None, near: int = 0) -> Path:
    """Write the first questions with their right texts, as `loam finetune` takes them.

    `near` texts that are not right are beside them: those that share the most words with the question (BM25).
    """
    questions = list(islice(collection.questions, count))
    found = _by_words(collection, questions, near) if near else [[] for _ in questions]
    texts = collection.texts
    rows = [
        {
            "query": question.text,
            "pos": [texts[place] for place in question.relevant],
            "neg": [texts[one] for one in wrong],
        }
        for question, wrong in zip(questions, found, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _by_words(collection: Collection, questions: Sequence[Question], near: int) -> list[list[int]]:
    def tokens(texts: Sequence[str]) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)

    index = bm25s.BM25()
    index.index(tokens(collection.texts), show_progress=False)
    most = near + max(len(question.relevant) for question in questions)
    ranked, _ = index.retrieve(tokens([question.text for question in questions]), k=most, show_progress=False)
    return [
        [int(place) for place in row if int(place) not in question.relevant][:near]
        for row, question in zip(ranked, questions, strict=True)
    ]


def dense_gains(collection: Collection, embed: Callable[[Sequence[str]], Vectors]) -> list[float]:
    """Give each question's nDCG@10 of ranking all texts by their cosine with it, each text cut at the window."""
    cosines = embed([question.text for question in collection.questions]) @ embed(collection.texts).T
    order = np.argsort(-cosines, axis=1, kind="stable")
    return [ndcg(row.tolist(), one.relevant) for row, one in zip(order, collection.questions, strict=True)]
