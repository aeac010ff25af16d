import pytest

from rag.adjacent import MOST_BLANKS, joined
from rag.cite import CitationFilter, verified
from rag.types import ChunkId, Hit, Passage

TEXT = "The permit costs 60 euros.\n\nIt is valid for ten years. \nRenewal is free.\n\nDogs need a licence."
SENTENCES = ("The permit costs 60 euros.", "It is valid for ten years.", "Renewal is free.", "Dogs need a licence.")


def hit(text: str, rank: int, *, file_id: str = "file-1", page: int | None = None, start: int | None = None) -> Hit:
    start = TEXT.index(text) if start is None else start
    passage = Passage(
        chunk_id=ChunkId(start + 1),
        file_id=file_id,
        filename="fees.md",
        text=text,
        start=start,
        end=start + len(text),
        page=page,
    )
    return Hit(passage=passage, score=1 / rank, rank=rank)


def between(_passage: Passage, start: int, end: int) -> str:
    return TEXT[start:end]


def test_chunks_that_follow_each_other_become_one_letter_for_letter() -> None:
    [source] = joined([hit(SENTENCES[1], 1), hit(SENTENCES[0], 2), hit(SENTENCES[2], 3)], between)
    passage = source.passage
    assert passage.text == TEXT[passage.start : passage.end] == TEXT[: TEXT.index("\n\nDogs")]
    assert (source.rank, source.score, passage.chunk_id) == (1, 1.0, TEXT.index("It") + 1)


def test_chunks_with_words_between_them_stay_apart_in_their_order() -> None:
    hits = (hit(SENTENCES[3], 1), hit(SENTENCES[0], 2))
    assert joined(hits, between) == hits
    near = (hit("The permit costs", 1), hit("euros.", 2))
    assert near[1].passage.start - near[0].passage.end < MOST_BLANKS
    assert joined(near, between) == near


def test_a_joined_source_stands_where_the_best_of_its_chunks_stood() -> None:
    sources = joined([hit(SENTENCES[1], 1), hit(SENTENCES[3], 2), hit(SENTENCES[0], 3)], between)
    assert [source.rank for source in sources] == [1, 2]


@pytest.mark.parametrize("other", [{"file_id": "file-2"}, {"page": 2}])
def test_chunks_of_other_files_or_pages_stay_apart(other: dict[str, str]) -> None:
    hits = (hit(SENTENCES[0], 1), hit(SENTENCES[1], 2, **other))  # type: ignore[arg-type]
    assert joined(hits, between) == hits


def test_overlapping_chunks_are_joined_without_saying_anything_twice() -> None:
    first, second = TEXT[:40], TEXT[20:60]
    [source] = joined([hit(first, 1), hit(second, 2), hit(TEXT[22:30], 3)], between)
    assert source.passage.text == TEXT[:60]


def test_chunks_of_two_versions_of_a_file_stay_apart() -> None:
    hits = (hit(TEXT[:40], 1), hit("something else that is said there", 2, start=20))
    assert joined(hits, between) == hits


def test_a_quote_names_the_chunk_that_it_is_from() -> None:
    sources = joined([hit(SENTENCES[0], 1), hit(SENTENCES[1], 2)], between)
    filter_ = CitationFilter(sources)
    text = filter_.feed("The permit costs 60 euros [1]. It is valid for ten years [1].") + filter_.finish()
    assert [one.chunk_id for one in filter_.citations] == [1, TEXT.index("It") + 1]
    assert all(TEXT[one.source_start : one.source_end] == one.quote for one in filter_.citations)
    assert verified(filter_.citations, text, sources) == tuple(filter_.citations)


def test_a_document_that_has_gone_joins_nothing() -> None:
    hits = (hit(SENTENCES[0], 1), hit(SENTENCES[1], 2))
    assert joined(hits, lambda *_: "") == hits


def test_nothing_found_gives_nothing() -> None:
    assert joined([], between) == ()
