"""Calls read out of a text: however it is cut into pieces, and never with a part of their form in the content."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engines.local.calls import CallPiece, CallReader, Opening, follow
from services.engines.local.frames import Frame
from tests.fakes.frames import HERMES, ID, LLAMA, MISTRAL

ONE = '<tool_call>\n{"name": "f", "arguments": {"a": "}\\"<tool_call>"}}\n</tool_call>'
TWO = f'{ONE}\n<tool_call>\n{{"name": "g.h", "arguments": {{}}}}\n</tool_call>'


def read(frame: Frame, *pieces: str, cut: bool = False, at_start: bool = False) -> tuple[str, list[tuple[str, str]]]:
    """Give the content, and the calls' names and arguments."""
    reader = CallReader(frame, Opening(frame, at_start=at_start))
    heard = [one for piece in pieces for one in reader.feed(piece)] + list(reader.finish(cut=cut))
    calls: dict[int, list[str]] = {}
    for one in heard:
        if isinstance(one, CallPiece):
            calls.setdefault(one.index, ["", ""])
            calls[one.index][0] += one.name or ""
            calls[one.index][1] += one.arguments
    return "".join(one for one in heard if isinstance(one, str)), [(name, said) for name, said in calls.values()]


F = ("f", '{"a": "}\\"<tool_call>"}')


@pytest.mark.parametrize(
    ("frame", "text", "content", "calls"),
    [
        (HERMES, "no call <tool> at all", "no call <tool> at all", []),
        (HERMES, ONE, "", [F]),
        (HERMES, f"Let me see.\n{TWO}", "Let me see.\n", [F, ("g.h", "{}")]),
        (HERMES, f"{ONE} and more\n{ONE}\n", "", [F, F]),
        (HERMES, '<tool_call>{"name":"f","arguments":{}}</tool_call>', "", [("f", "{}")]),
        (HERMES, '<tool_call>\n{"name": "f", "arguments": {not json}}', "", [("f", "{not json}")]),
        (HERMES, "<tool_call> is a tag", "<tool_call> is a tag", []),
        (HERMES, '<tool_call>\n{"name": "f", "arguments": "x"}', '<tool_call>\n{"name": "f", "arguments": "x"}', []),
        (LLAMA, ' {"name":"f", "parameters": {"a": [1]}}', "", [("f", '{"a": [1]}')]),
        (LLAMA, '{"names": ["f"]}', '{"names": ["f"]}', []),
        (LLAMA, 'See {"name": "f", "parameters": {}}', 'See {"name": "f", "parameters": {}}', []),
        (
            MISTRAL,
            '[TOOL_CALLS] [{"name": "f", "arguments": {}, "id": "abcDEF123"}, {"name": "g", "arguments": {"b": 1}, '
            '"id": "abcDEF124"}]',
            "",
            [("f", "{}"), ("g", '{"b": 1}')],
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_content_and_calls_are_told_apart(frame: Frame, text: str, content: str, calls: list[Any], size: int) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]

    assert read(frame, *pieces) == (content, calls)


@given(st.text(alphabet='<tol_ca>{"nme: f,rgus}\\', max_size=40), st.data())
def test_pieces_make_no_difference(text: str, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(["", "<tool_call>", '<tool_call>\n{"name": "f", "arguments": {'])) + text
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert read(HERMES, *pieces) == read(HERMES, text)


@pytest.mark.parametrize("length", range(len(ONE)))
def test_of_an_answer_that_is_cut_off_no_part_of_a_call_s_form_is_content(length: int) -> None:
    content, calls = read(HERMES, "So: " + ONE[:length], cut=True)

    assert content == "So: "
    assert not calls or (calls[0][0] == "f" and F[1].startswith(calls[0][1]))


def test_where_calls_are_the_whole_answer_they_stand_at_its_start() -> None:
    assert read(HERMES, ONE, at_start=True) == ("", [F])
    assert read(HERMES, '{"a": "', ONE, at_start=True) == ('{"a": "' + ONE, [])


def test_white_space_is_of_no_account_in_what_is_expected() -> None:
    assert follow('{"a": ', ' {\n"a":1') == len(' {\n"a":')
    assert follow('{"a": ', "{ ") == "partly"
    assert follow('{"a": ', '{"b') == "not"
    assert follow(f"<{ID}>", "<abcdEFG12>x") == 11
