import threading

import pytest

from rag.embed_ahead import AT_ONCE, WINDOWS_AT_ONCE, AheadEmbedder
from rag.ingest import Source, ingest
from rag.types import Document
from tests.fakes.embedder import WordEmbedder

WAIT_S = 30


class _Nothing:
    def known(self, keys):
        return set()


class _HeldEmbedder(WordEmbedder):
    """Computes nothing before it is let go."""

    def __init__(self):
        super().__init__()
        self.begun, self.let_go = threading.Event(), threading.Event()

    def embed_spans(self, texts, spans):
        self.begun.set()
        assert self.let_go.wait(WAIT_S)
        return super().embed_spans(texts, spans)


class _MeetingEmbedder(WordEmbedder):
    """Computes nothing before it is asked twice."""

    def __init__(self):
        super().__init__()
        self.both = threading.Barrier(2, timeout=WAIT_S)

    def embed_spans(self, texts, spans):
        self.both.wait()
        return super().embed_spans(texts, spans)


@pytest.fixture
def embedder():
    return WordEmbedder()


def ahead_of(embedder, *, checkpoint=lambda: None):
    return AheadEmbedder(embedder, _Nothing(), checkpoint)


def test_a_text_that_the_group_before_it_has_is_not_embedded_again(embedder):
    ahead = ahead_of(embedder)
    first, second = ahead.start({b"1": "one", b"2": "two"}), ahead.start({b"2": "two", b"3": "three"})
    assert second.result().keys() == {b"2", b"3"}
    assert first.result()[b"2"] is second.result()[b"2"]
    assert embedder.seen == ["one", "two", "three"]
    ahead.close()


def test_what_a_checkpoint_raises_is_the_result_of_its_group_alone(embedder):
    passed = iter([True, False, True])

    def checkpoint():
        if not next(passed):
            raise KeyboardInterrupt

    ahead = ahead_of(embedder, checkpoint=checkpoint)
    one, two, three = (ahead.start({text.encode(): text}) for text in ("one", "two", "three"))
    assert one.result().keys() == {b"one"}
    with pytest.raises(KeyboardInterrupt):
        two.result()
    assert three.result().keys() == {b"three"}
    ahead.close()


def test_closing_gives_up_what_is_not_begun_of_a_large_group():
    embedder = _HeldEmbedder()
    ahead = ahead_of(embedder)
    group = ahead.start({str(number).encode(): f"w{number}" for number in range(4 * WINDOWS_AT_ONCE)})
    assert embedder.begun.wait(WAIT_S)
    closing = threading.Thread(target=ahead.close)
    closing.start()
    while not any(part.cancelled() for part in group.parts.values()):
        assert closing.is_alive()
    embedder.let_go.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert len(embedder.seen) <= AT_ONCE * WINDOWS_AT_ONCE


def test_the_next_windows_are_begun_while_some_are_computed():
    embedder = _MeetingEmbedder()
    ahead = ahead_of(embedder)
    # Neither would be done, had it to wait for the other.
    group = ahead.start({str(number).encode(): f"w{number}" for number in range(2 * WINDOWS_AT_ONCE)})
    assert len(group.result()) == 2 * WINDOWS_AT_ONCE
    ahead.close()


def test_the_next_file_is_read_while_the_one_before_it_is_embedded(monkeypatch):
    monkeypatch.setattr("rag.ingest.GROUP_TOKENS", 1)
    embedder = _HeldEmbedder()

    def second():
        # It would never be asked for, had the first to be embedded before.
        assert embedder.begun.wait(WAIT_S)
        embedder.let_go.set()
        return b"ships"

    sources = [Source(ref=name, filename=name, read=read) for name, read in (("1", lambda: b"pipes"), ("2", second))]
    outcomes = ingest(sources, parse=_parse, embedder=embedder, cache=_Nothing())
    assert [[outcome.ref for outcome in group] for group in outcomes] == [["1"], ["2"]]


def _parse(content, filename):
    return Document(name=filename, media_type="text/plain", text=content.decode())
