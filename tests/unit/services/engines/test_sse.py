import pytest

from services.engines.sse import EventDecoder

STREAM = (
    'data: {"a": "Grüße — 東京 🌱"}\r\n\r\n: ping\n\nevent: x\ndata: one\ndata:two\rid: 7\r\r\ndata: [DONE]\n\n'
).encode()
EVENTS = ['{"a": "Grüße — 東京 🌱"}', "one\ntwo", "[DONE]"]


def decoded(*pieces: bytes) -> list[str]:
    decoder = EventDecoder()
    return [data for piece in pieces for data in decoder.feed(piece)] + decoder.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_events_do_not_depend_on_how_bytes_are_cut(size: int) -> None:
    assert decoded(*(STREAM[start : start + size] for start in range(0, len(STREAM), size))) == EVENTS


def test_every_two_pieces_give_the_same_events() -> None:
    assert all(decoded(STREAM[:cut], STREAM[cut:]) == EVENTS for cut in range(len(STREAM)))


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    decoder = EventDecoder()

    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b") == ["a"]
    assert decoder.finish() == ["b"]


def test_comments_and_blank_lines_are_no_events() -> None:
    assert decoded(b": hello\n\n\n\nretry: 5\n\n") == []
