"""Sequences held to a grammar, token by token, with a real tokenizer."""

from typing import Any

import pytest
import torch

from services.engines.local.calls import Opening
from services.engines.local.constraint import Constraint, restricted
from services.engines.local.frames import Frame
from services.engines.local.grammar import Vocabulary, answer_grammar, calls_rules, matcher_of
from services.engines.local.tools import Tools, read_tools
from services.errors import BadRequest
from tests.fakes.tokenizer import tiny_tokenizer

FRAME = Frame(mark="<call>", head="", between=" ", link="</call><call>", tail="</call>")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer(None)


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Any) -> Vocabulary:
    return Vocabulary(tokenizer)


@pytest.fixture(scope="module")
def end(tokenizer: Any) -> int:
    return int(tokenizer.eos_token_id)


def held(vocabulary: Vocabulary, end: int, schema: dict[str, Any]) -> Constraint:
    matcher = matcher_of(vocabulary, answer_grammar(schema=schema, calls=None), "response_format")
    return Constraint(matcher.deep_copy, vocabulary.tokens, frozenset([end, 10**6]))


def tools(**params: Any) -> Tools:
    given = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"enum": [1]}}}}}
    found = read_tools({"tools": [given], **params})
    assert found is not None
    return found


def fits(constraint: Constraint, token: int) -> bool:
    bits = constraint.allowed()
    return bits is None or bool(bits[token // 32] >> (token % 32) & 1)


def write(constraint: Constraint, tokenizer: Any, text: str) -> None:
    for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
        assert fits(constraint, token), text
        constraint.accept(token)


def test_an_answer_ends_only_where_it_is_whole(vocabulary: Vocabulary, tokenizer: Any, end: int) -> None:
    constraint = held(vocabulary, end, {"type": "integer"})
    assert not fits(constraint, end)
    write(constraint, tokenizer, "12")

    assert (fits(constraint, end), constraint.is_over) == (True, False)
    write(held(vocabulary, end, {"type": "integer"}), tokenizer, "7")


def test_nothing_comes_after_what_cannot_go_on(vocabulary: Vocabulary, tokenizer: Any, end: int) -> None:
    constraint = held(vocabulary, end, {"type": "object"})
    write(constraint, tokenizer, '{"a": 1}')

    assert constraint.is_over


def test_a_key_that_is_told_of_has_one_spelling(vocabulary: Vocabulary, tokenizer: Any, end: int) -> None:
    for written in ('{"\\u0061": "x"', '{"a": 1, "a'):
        constraint = held(vocabulary, end, {"type": "object", "properties": {"a": {"type": "integer"}}})
        with pytest.raises(AssertionError):
            write(constraint, tokenizer, written + '": "x"}')


def test_a_token_that_does_not_fit_is_an_error_of_this_request(
    vocabulary: Vocabulary, tokenizer: Any, end: int
) -> None:
    with pytest.raises(BadRequest, match="could not be followed"):
        held(vocabulary, end, {"type": "object"}).accept(tokenizer("x")["input_ids"][-1])


@pytest.mark.parametrize("before", ["", "So: <cal <"])
def test_an_answer_is_free_until_a_call_begins(vocabulary: Vocabulary, tokenizer: Any, end: int, before: str) -> None:
    rules = calls_rules(vocabulary, FRAME, tools(parallel_tool_calls=False), marked=True)
    matcher = matcher_of(vocabulary, answer_grammar(schema=None, calls=rules), "tools")
    constraint = Constraint(matcher.deep_copy, vocabulary.tokens, frozenset([end]), Opening(FRAME))
    write(constraint, tokenizer, before + "<call")
    assert constraint.allowed() is None
    write(constraint, tokenizer, '>f {"b": [2]}</call')

    assert not fits(constraint, end)
    write(constraint, tokenizer, ">")
    assert constraint.is_over


def test_a_required_call_keeps_to_its_schema(vocabulary: Vocabulary, tokenizer: Any, end: int) -> None:
    rules = calls_rules(vocabulary, FRAME, tools(tool_choice="required"), marked=False)
    matcher = matcher_of(vocabulary, answer_grammar(schema=None, calls=rules), "tools")
    constraint = Constraint(matcher.deep_copy, vocabulary.tokens, frozenset([end]))
    write(constraint, tokenizer, '<call>f {"a": 1}</call>')
    assert fits(constraint, end)
    write(constraint, tokenizer, '<call>f {"a": ')

    assert not fits(constraint, tokenizer("2")["input_ids"][-1])


def test_what_a_schema_asks_for_in_vain_is_named(vocabulary: Vocabulary) -> None:
    for schema, keyword in (
        ({"not": {}}, '"not"'),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"oneOf": [{"type": "string"}, {"minLength": 3}]}, "oneOf"),
        ({"type": "string", "format": "binary"}, "format: binary"),
        ({"$ref": "http://example.org/x"}, r"http://example\.org/x"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "objekt"}, "objekt"),
    ):
        with pytest.raises(BadRequest, match=keyword) as refused:
            matcher_of(vocabulary, answer_grammar(schema=schema, calls=None), "response_format")
        assert refused.value.param == "response_format"


def test_rows_of_different_tokenizers_are_restricted_together() -> None:
    scores = torch.arange(4 * 100, dtype=torch.float32).view(4, 100)
    narrow, wide = torch.tensor([0b101], dtype=torch.int32), torch.tensor([0, 1, 0, -1], dtype=torch.int32)
    left = restricted(scores, [(1, narrow), (3, wide)])

    allowed = [row.isfinite().nonzero()[:, 0].tolist() for row in left]
    assert allowed == [list(range(100)), [0, 2], list(range(100)), [32, 96, 97, 98, 99]]
    assert torch.equal(left[1, [0, 2]], scores[1, [0, 2]])
    assert restricted(scores, []) is scores
