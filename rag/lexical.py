"""The text index of one store: BM25 over titles, headings and text, on disk and shared by processes (tantivy).

It is derived: whatever is wrong with its files, it can be made again from the chunks. One process
writes at a time (the caller holds a lock); readers see whole commits only.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tantivy
from numpy.typing import NDArray
from tantivy import Filter, Occur, Query, TextAnalyzerBuilder, Tokenizer

from rag.ports import IndexRow
from rag.types import ChunkId

MAX_QUERY_TERMS = 256
MAX_WORD_BYTES = 100
WRITER_HEAP_BYTES = 32 * 2**20
# A query's words that ask rather than tell; a passage that holds them is no better for it.
QUESTION_WORDS = "what which who whom whose when where why how did does do has have had can could would should".split()  # noqa: SIM905
# Scripts written without spaces between words: kana, Han, Hangul, Thai.
UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
BM25_K1 = 1.2
BM25_B = 0.75
NEWEST = 64
# How many times deeper than it should take a filter's hits are looked for among all.
DEEPER = 16


@dataclass(frozen=True, slots=True)
class TextScores:
    """Raw BM25 by chunk, best first; `ceiling` is what a passage full of every query term would get."""

    scores: Mapping[ChunkId, float]
    ceiling: float


def terms_of(text: str) -> list[str]:
    """Give the terms that a text is found by, in their order, each as often as it is there."""
    return list(_analyzer().analyze(_bigrams(text)))


def query_terms(query: str) -> list[str]:
    """Give the terms that a query looks for, each once."""
    return list(dict.fromkeys(terms_of(query)))[:MAX_QUERY_TERMS]


def indexed_text(row: IndexRow) -> str:
    """Give what a chunk is found by. One field, not three: a boost for the title gained nothing (rag/README.md)."""
    return "\n".join((row.title, *row.heading_path, row.text))


def rarity(chunks: int, found: int) -> float:
    """Weigh a term by how few of the chunks have it: BM25's inverse document frequency, never below 0."""
    return math.log1p((chunks - found + 0.5) / (found + 0.5))


def ceiling(chunks: int, frequencies: Sequence[int]) -> float:
    """The sum of the terms' weights, each at the most that its frequency can bring (k1 + 1)."""
    return (BM25_K1 + 1) * sum(rarity(chunks, min(chunks, found)) for found in frequencies)


class TextIndex:
    """The index in one folder, open for search. ValueError from any method: its files are unusable."""

    def __init__(self, folder: Path) -> None:
        """Open the folder's index, or begin an empty one there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._index = tantivy.Index(_schema(), str(folder), reuse=True)
        self._index.register_tokenizer("loam", _analyzer())
        self._ids = np.empty(0, dtype=np.int64)
        self.reload()

    def reload(self) -> None:
        """See what has been committed since, by this process or another."""
        self._index.reload()
        searcher = self._index.searcher()
        # A lost file of postings shows only when a term is looked up.
        searcher.doc_freq("terms", "")
        ids = np.concatenate([self._ids, _ids_after(searcher, self._ids[-1])]) if len(self._ids) else self._ids
        # With as many as there are, none has gone: all that have come are above those that were known.
        self._ids = ids if len(ids) == searcher.num_docs else _all_ids(searcher)
        self._searcher = searcher

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all indexed chunks, ascending, as of the last reload."""
        return self._ids

    def update(self, *, add: Iterable[IndexRow], remove: NDArray[np.int64]) -> None:
        """Commit additions and removals as one change. Adding a chunk again replaces it."""
        # One thread: a second one would only cut the commit into more segments.
        writer = self._index.writer(WRITER_HEAP_BYTES, 1)
        kept = np.setdiff1d(self._ids, remove, assume_unique=True)
        for chunk_id in remove.tolist():
            writer.delete_documents_by_term("chunk_id", chunk_id)
        for row in add:
            writer.delete_documents_by_term("chunk_id", row.chunk_id)
            writer.add_document(_document(row))
        writer.commit()
        # A writer dropped earlier abandons its merges, and segments would pile up.
        writer.wait_merging_threads()
        self._ids = kept
        self.reload()

    def search(self, query: str, limit: int, within: NDArray[np.int64] | None = None) -> TextScores:
        """Find the chunks that share words with `query`, which is a bag of words whatever it holds."""
        searcher = self._searcher
        terms = query_terms(query)
        if not terms or limit < 1 or (within is not None and not len(within)):
            return TextScores({}, 0.0)
        scores = self._scores(searcher, terms, limit, within)
        frequencies = [searcher.doc_freq("terms", term) for term in terms]
        return TextScores(dict(islice(scores.items(), limit)), ceiling(searcher.num_docs, frequencies))

    def _scores(
        self, searcher: Any, terms: list[str], limit: int, within: NDArray[np.int64] | None
    ) -> dict[ChunkId, float]:
        """Give the best `limit` chunks and perhaps more.

        The engine is given a filter that keeps few. One that keeps many would be a long list to it: then the best of
        all are gone through, as far down as it takes to find enough, unless that is too far.
        """
        if within is None:
            return _found(searcher, self._query(terms, None), limit)
        depth = 2 * limit * max(1, searcher.num_docs // len(within))
        deepest = DEEPER * depth
        while len(within) > depth <= deepest:
            found = _found(searcher, self._query(terms, None), depth)
            ids = np.fromiter(found, dtype=np.int64, count=len(found))
            wanted = ids[np.isin(ids, within)].tolist()
            if len(wanted) >= limit or len(found) < depth:
                return {id_: found[id_] for id_ in wanted}
            depth *= 4
        return _found(searcher, self._query(terms, within), limit)

    def _query(self, terms: list[str], within: NDArray[np.int64] | None) -> Any:
        schema = self._index.schema
        any_term = Query.boolean_query(
            [(Occur.Should, Query.term_query(schema, "terms", term, index_option="freq")) for term in terms]
        )
        if within is None:
            return any_term
        allowed = Query.const_score_query(Query.term_set_query(schema, "chunk_id", within.tolist()), 0.0)
        return Query.boolean_query([(Occur.Must, any_term), (Occur.Must, allowed)])


def _schema() -> Any:
    schema = tantivy.SchemaBuilder()
    # Signed: tantivy-py reads the number in a deletion as signed, which no term of an unsigned field equals.
    schema.add_integer_field("chunk_id", fast=True, indexed=True)
    schema.add_text_field("terms", tokenizer_name="loam", index_option="freq")
    return schema.build()


@cache
def _analyzer() -> Any:
    """Lower-cased, accents folded, English stop words dropped, English stems.

    The stemmer leaves words of other alphabets alone and does little harm to other Latin ones.
    """
    analyzer = TextAnalyzerBuilder(Tokenizer.simple())
    for step in (
        Filter.remove_long(MAX_WORD_BYTES),
        Filter.lowercase(),
        Filter.ascii_fold(),
        Filter.stopword("english"),
        Filter.custom_stopword(QUESTION_WORDS),
        Filter.stemmer("english"),
    ):
        analyzer = analyzer.filter(step)
    return analyzer.build()


def _document(row: IndexRow) -> Any:
    document = tantivy.Document()
    document.add_integer("chunk_id", row.chunk_id)
    document.add_text("terms", _bigrams(indexed_text(row)))
    return document


def _bigrams(text: str) -> str:
    """Cut text without spaces between its words into overlapping pairs of characters."""
    return UNSPACED.sub(lambda run: f" {_pairs(run[0])} ", text)


def _pairs(run: str) -> str:
    return " ".join(run[start : start + 2] for start in range(max(1, len(run) - 1)))


def _found(searcher: Any, query: Any, limit: int) -> dict[ChunkId, float]:
    hits = searcher.search(query, limit, count=False).hits
    ids: list[ChunkId] = searcher.fast_field_values("chunk_id", [address for _, address in hits])
    return {id_: score for id_, (score, _) in zip(ids, hits, strict=True)}


def _all_ids(searcher: Any) -> NDArray[np.int64]:
    return np.sort(np.fromiter(_found(searcher, Query.all_query(), max(1, searcher.num_docs)), dtype=np.int64))


def _ids_after(searcher: Any, last: int) -> NDArray[np.int64]:
    """Give the ids above one, ascending, at a cost that grows with how many there are."""
    limit = NEWEST
    while True:
        hits = searcher.search(Query.all_query(), limit, count=False, order_by_field="chunk_id").hits
        if len(hits) < limit or hits[-1][0] <= last:
            return np.array(sorted(id_ for id_, _ in hits if id_ > last), dtype=np.int64)
        limit *= 8
