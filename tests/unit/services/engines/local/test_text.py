"""Text as it settles: whole characters, and never a part of a stop sequence."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engines.extractive import before_stop
from services.engines.local.text import Detokenizer, Piece, Token, Writing

END = 256


class Bytes:
    """A tokenizer whose tokens are bytes; it leaves out one special token."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return bytes(one for one in ids if one != END).decode("utf-8", "replace")


def writing(*stops: str) -> Writing:
    tokenizer: Any = Bytes()
    return Writing(Detokenizer(tokenizer), stops)


def written(one: Writing, text: str | bytes) -> list[Piece]:
    """Feed a text byte by byte until a stop, and finish."""
    pieces = []
    for byte in text if isinstance(text, bytes) else text.encode():
        if one.stopped:
            break
        pieces.append(one.feed(Token(id=byte)))
    return [*pieces, one.finish()]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def ids_of(pieces: list[Piece], *, unseen: bool) -> list[int]:
    return [token.id for piece in pieces for token in (piece.unseen if unseen else piece.tokens)]


def test_a_character_is_sent_once_it_is_whole() -> None:
    pieces = written(writing(), "é東🌱!")

    assert [piece.text for piece in pieces if piece.text] == ["é", "東", "🌱", "!"]
    assert [len(piece.tokens) for piece in pieces if piece.text] == [2, 3, 4, 1]


def test_bytes_that_are_no_character_are_shown_when_what_follows_proves_it() -> None:
    assert text_of(written(writing(), b"a\xe6b")) == "a\ufffdb"


def test_a_character_that_is_never_finished_is_left_out() -> None:
    pieces = written(writing(), "a東".encode()[:-1])

    assert text_of(pieces) == "a"
    assert ids_of(pieces, unseen=False) == [ord("a"), 0xE6, 0x9D]


def test_a_stop_sequence_is_held_back_while_it_grows() -> None:
    one = writing("STOP")

    assert [one.feed(Token(id=byte)).text for byte in b"aSTa"] == ["a", "", "", "STa"]


def before_first_complete(text: str, stops: Sequence[str]) -> str:
    """What is left of a text that is read character by character until a stop sequence is complete."""
    read = (text[:length] for length in range(len(text) + 1))
    return next((before_stop(so_far, stops) for so_far in read if any(stop in so_far for stop in stops)), text)


@pytest.mark.parametrize(
    ("stops", "left"),
    [(("STOP",), "go "), (("TO", "STOP"), "go S"), (("STOP", "OPERA"), "go "), (("x",), "go STOPERA")],
)
def test_the_stop_sequence_that_is_first_complete_ends_the_text(stops: tuple[str, ...], left: str) -> None:
    one = writing(*stops)

    assert text_of(written(one, "go STOPERA")) == left == before_first_complete("go STOPERA", stops)
    assert one.stopped == (left != "go STOPERA")


def test_tokens_of_a_stop_sequence_are_told_but_not_seen() -> None:
    pieces = written(writing("STOP"), "aSTOP")

    assert ids_of(pieces, unseen=False) == [ord("a")]
    assert ids_of(pieces, unseen=True) == list(b"STOP")


def test_the_token_that_ends_an_answer_is_no_part_of_it() -> None:
    one = writing("no")
    first = one.feed(Token(id=ord("n")))
    last = one.finish(Token(id=END))

    assert (first.text, last.text) == ("", "n")
    assert [token.id for token in last.unseen] == [END]


@given(st.text("ab東é", max_size=20), st.lists(st.text("ab東é", min_size=1, max_size=4), max_size=3))
def test_nothing_of_a_stop_sequence_is_sent_and_nothing_else_is_lost(text: str, stops: list[str]) -> None:
    one = writing(*stops)
    pieces = written(one, text)

    assert text_of(pieces) == before_first_complete(text, stops)
    assert one.stopped == any(stop in text for stop in stops)
    fed = text.encode()[: len(ids_of(pieces, unseen=False)) + len(ids_of(pieces, unseen=True))]
    assert bytes(ids_of(pieces, unseen=False) + ids_of(pieces, unseen=True)) == fed


def test_a_message_that_is_gone_on_with_keeps_the_space_before_its_next_word() -> None:
    class Metaspace:
        """Leaves out the space at the very beginning, as SentencePiece does."""

        def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
            return "".join(f" {chr(one)}" for one in ids)[1:]

    tokenizer: Any = Metaspace()
    assert Detokenizer(tokenizer).feed(ord("b")) == "b"
    assert Detokenizer(tokenizer, before=[ord("a")]).feed(ord("b")) == " b"
