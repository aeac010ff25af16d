import pytest

from rag.errors import InvalidFile
from rag.ingest import Ingested, Rejected, Source, ingest, vector_key
from rag.types import Document
from tests.fakes.embedder import WordEmbedder


class _Cache:
    def __init__(self, *texts):
        self.keys = {vector_key("words-1", text) for text in texts}

    def known(self, keys):
        return self.keys & set(keys)


def _parse(content, filename):
    if not content:
        raise InvalidFile(f"{filename!r} is empty.")
    return Document(name=filename, media_type="text/plain", text=content.decode())


def _run(files, embedder, cache=None):
    sources = [Source(ref=name, filename=name, read=lambda content=content: content) for name, content in files.items()]
    groups = ingest(sources, parse=_parse, embedder=embedder, cache=cache or _Cache())
    return [outcome for group in groups for outcome in group]


def test_each_window_of_each_chunk_is_named_and_has_its_vector():
    [outcome] = _run({"a.txt": b"the quick brown fox"}, WordEmbedder())
    assert isinstance(outcome, Ingested)
    assert outcome.keys == ((vector_key("words-1", "the quick brown fox"),),)
    assert outcome.vectors.keys() == {outcome.keys[0][0]}


def test_file_that_cannot_be_read_is_given_back_in_its_place():
    first, second, third = _run({"a.txt": b"one", "b.txt": b"", "c.txt": b"three"}, WordEmbedder())
    assert isinstance(second, Rejected)
    assert second.ref == "b.txt"
    assert "empty" in str(second.error)
    assert isinstance(first, Ingested)
    assert isinstance(third, Ingested)


def test_known_text_is_not_embedded_again():
    embedder = WordEmbedder()
    [outcome] = _run({"a.txt": b"one"}, embedder, _Cache("one"))
    assert embedder.seen == []
    assert outcome.vectors == {}


def test_text_that_two_files_share_is_embedded_once_and_given_to_both():
    embedder = WordEmbedder()
    first, second = _run({"a.txt": b"same", "b.txt": b"same"}, embedder)
    assert embedder.seen == ["same"]
    assert first.vectors.keys() == second.vectors.keys() != set()


def test_source_that_has_gone_is_rejected_with_the_reason():
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    [[outcome]] = ingest(
        [Source(ref=1, filename="a.txt", read=gone)], parse=_parse, embedder=WordEmbedder(), cache=_Cache()
    )
    assert "No such file or directory" in str(outcome.error)


def test_vector_key_depends_on_the_embedder():
    assert vector_key("a", "text") != vector_key("b", "text")


def test_large_file_is_given_up_between_its_windows(monkeypatch):
    monkeypatch.setattr("rag.embed_ahead.WINDOWS_AT_ONCE", 3)
    embedder = WordEmbedder()
    words = " ".join(f"w{number}." for number in range(2_000))
    passed = iter([None, None])

    def checkpoint():
        if next(passed, StopIteration) is StopIteration:
            raise KeyboardInterrupt

    source = Source(ref="a.txt", filename="a.txt", read=words.encode)
    with pytest.raises(KeyboardInterrupt):
        list(ingest([source], parse=_parse, embedder=embedder, cache=_Cache(), checkpoint=checkpoint))
    assert len(embedder.seen) == 2 * 3
