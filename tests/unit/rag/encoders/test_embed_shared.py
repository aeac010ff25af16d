import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from rag.encoders.embed_shared import FEW_TEXTS, MOST_TEXTS, SharedEmbedder
from rag.ports import Vectors
from tests.fakes.embedder import WordEmbedder


class HeldEmbedder(WordEmbedder):
    """Computes its first call only when it is let go, and tells what each call was given; refuses what is `bad`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.computing, self.let_go = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        self.computing.set()
        assert self.let_go.wait(10)
        if "bad" in texts:
            raise ValueError("a bad text")
        return super().embed(texts)


@pytest.fixture
def held() -> HeldEmbedder:
    return HeldEmbedder()


def queued(held: HeldEmbedder, lists: Sequence[Sequence[str]]) -> "list[Future[Any]]":
    """Ask for each list in a thread of its own, the first before the others and those while it is computed; let go."""
    shared = SharedEmbedder(held)
    with ThreadPoolExecutor(len(lists)) as pool:
        asked = [pool.submit(shared.embed, lists[0])]
        assert held.computing.wait(10)
        for count, texts in enumerate(lists[1:], 1):
            asked.append(pool.submit(shared.embed, texts))
            while len(texts) <= FEW_TEXTS and len(shared._waiting) < count:
                pass
        held.let_go.set()
    return asked


def test_what_queued_while_one_was_computed_is_computed_together(held: HeldEmbedder) -> None:
    queued(held, [["one"], ["two"], ["three", "four"], ["five"]])
    assert held.calls == [["one"], ["two", "three", "four", "five"]]


def test_each_gets_the_vectors_of_its_own_texts(held: HeldEmbedder) -> None:
    lists = [["one"], ["two"], ["three", "four"], ["five"]]
    for texts, answer in zip(lists, queued(held, lists), strict=True):
        np.testing.assert_array_equal(answer.result(), WordEmbedder().embed(texts))


def test_what_several_ask_is_computed_once(held: HeldEmbedder) -> None:
    lists = [["one"], ["two"], ["two", "three"], ["two"]]
    answers = queued(held, lists)
    assert held.calls == [["one"], ["two", "three"]]
    for texts, answer in zip(lists, answers, strict=True):
        np.testing.assert_array_equal(answer.result(), WordEmbedder().embed(texts))


def test_who_is_alone_is_computed_at_once(held: HeldEmbedder) -> None:
    held.let_go.set()
    shared = SharedEmbedder(held)
    shared.embed(["one"])
    shared.embed(["two"])
    assert held.calls == [["one"], ["two"]]


def test_an_error_goes_to_whose_text_it_is(held: HeldEmbedder) -> None:
    first, good, bad, other = queued(held, [["one"], ["two"], ["bad"], ["three"]])
    with pytest.raises(ValueError, match="a bad text"):
        bad.result()
    for answer in (first, good, other):
        assert answer.result().shape == (1, 64)


def test_an_error_of_one_alone_leaves_the_embedder_usable(held: HeldEmbedder) -> None:
    held.let_go.set()
    shared = SharedEmbedder(held)
    with pytest.raises(ValueError, match="a bad text"):
        shared.embed(["bad"])
    assert shared.embed(["one"]).shape == (1, 64)


def test_a_batch_has_a_limit_and_the_rest_follows(held: HeldEmbedder) -> None:
    answers = queued(
        held,
        [
            ["first"],
            *[[f"{place}-{text}" for text in range(FEW_TEXTS)] for place in range(MOST_TEXTS // FEW_TEXTS + 1)],
        ],
    )
    assert [len(call) for call in held.calls] == [1, MOST_TEXTS, FEW_TEXTS]
    assert all(answer.done() for answer in answers)


def test_a_long_list_neither_waits_nor_is_waited_for(held: HeldEmbedder) -> None:
    held.let_go.set()
    shared = SharedEmbedder(held)
    shared._computing = True
    assert len(shared.embed(["word"] * (FEW_TEXTS + 1))) == FEW_TEXTS + 1


def test_no_texts_give_no_rows() -> None:
    assert SharedEmbedder(WordEmbedder()).embed([]).shape == (0, 64)


def test_an_interrupt_of_the_one_that_computes_leaves_nobody_behind(held: HeldEmbedder) -> None:
    shared = SharedEmbedder(held)
    interrupted: list[bool] = []

    class Interrupted(BaseException):
        pass

    def once(texts: Sequence[str]) -> Vectors:
        if not interrupted:
            interrupted.append(True)
            held.computing.set()
            while not shared._waiting:
                pass
            raise Interrupted
        return WordEmbedder().embed(texts)

    held.embed = once  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(shared.embed, ["one"])
        assert held.computing.wait(10)
        second = pool.submit(shared.embed, ["two"])
        assert second.result(10).shape == (1, 64)
        assert isinstance(first.exception(), Interrupted)


def test_many_threads_get_what_they_asked_for() -> None:
    shared = SharedEmbedder(WordEmbedder())
    texts = [f"word{place % 50}" for place in range(2000)]
    with ThreadPoolExecutor(16) as pool:
        vectors = np.concatenate(list(pool.map(lambda text: shared.embed([text]), texts)))
    np.testing.assert_array_equal(vectors, WordEmbedder().embed(texts))
