"""Serving held against a trace of three learned tokens: what passes, what fails, and what that is laid to."""

import json
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import NotAnswered, UnreadableFile
from finetune.parity.compare import Parity, compare
from finetune.parity.reasons import Over
from finetune.parity.trace import Continuation, read_traces, write_traces
from tests.fakes.traces import IDS, PIECES, TRACE, Serving


def codes(parity: Parity) -> list[str]:
    return [reason.code for reason in parity.reasons]


def test_the_same_tokens_logprobs_and_answers_pass() -> None:
    parity = compare([TRACE], Serving())
    assert parity.passed
    assert parity.public() == {
        "passed": True,
        "reasons": [],
        "dtype": "float32",
        "tolerance": 1e-4,
        "sequences": 1,
        "identical": 1,
        "learned_tokens": 3,
        "mean_logprob_difference": 0.0,
        "max_logprob_difference": 0.0,
        "kl_per_token": 0.0,
        "greedy_tokens": 3,
        "greedy_agreement": 1.0,
        "engine": None,
        "over": None,
        "compared_at": None,
    }


def test_a_pass_is_said_in_a_line() -> None:
    assert compare([TRACE], Serving()).sentence() == (
        "Parity passed: 1 sequences have the same tokens, 3 logprobs differ by 0.0e+00 on average (at most 1e-04), "
        "KL is 0.0e+00 nats a token, greedy answers agree in 100.0%."
    )
    alone = replace(TRACE, continuation=None, likeliest=[])
    assert compare([alone], Serving()).sentence().endswith("(at most 1e-04).")


def test_it_asks_for_the_whole_conversation_and_for_the_answer_to_its_beginning() -> None:
    serving = Serving()
    compare([TRACE], serving)
    whole, beginning = serving.asked
    assert (whole["messages"], whole["add_generation_prompt"]) == (TRACE.messages, False)
    assert (beginning["messages"], beginning["max_tokens"]) == (TRACE.messages[:2], 3)


@pytest.mark.parametrize(
    ("served", "code", "told"),
    [
        (IDS[1:], "bos", "trained '<s>system: Hi user:', served 'system: Hi user: Yo'"),
        ([1, *IDS], "bos", "The token that begins a text is put otherwise."),
        ([0, *IDS[1:]], "bos", "served '[0]system: Hi user:'"),
        (
            [1, 10, *IDS[2:]],
            "roles",
            "at token 1: trained '<s>system: Hi user: Yo', served '<s>developer: Hi user: Yo'",
        ),
        ([1, *IDS[3:]], "roles", "Message 0, of the role 'system', is left out."),
        ([*IDS, 3], "chat_template", "at token 9: trained ' bot: a b c', served ' bot: a b c Hi'"),
        ([*IDS[:5], 6, 6, *IDS[6:]], "chat_template", "The chat template writes the conversation otherwise."),
    ],
)
def test_other_tokens_are_laid_to_what_makes_them(served: list[int], code: str, told: str) -> None:
    pieces = {**PIECES, 10: "developer:", 0: "<x>"}
    parity = compare([replace(TRACE, pieces=["<s>", *TRACE.pieces[1:]])], Serving(served, pieces=pieces))
    assert codes(parity) == [code]
    assert told in parity.reasons[0].text
    assert "training example 5" in parity.reasons[0].text
    assert parity.identical == 0


def test_the_same_text_in_other_tokens_is_laid_to_the_tokenizer() -> None:
    pieces = {**PIECES, 20: " user", 21: ":"}
    assert codes(compare([TRACE], Serving([1, 2, 3, 20, 21, *IDS[4:]], pieces=pieces))) == ["tokenizer"]


@pytest.mark.parametrize(
    ("dtype", "logprobs", "expected"),
    [
        ("float32", [-1.0, -2.0, -3.0002], []),
        ("float32", [-1.01, -2.0, -3.0], ["dtype"]),
        ("float32", [-1.5, -2.0, -3.0], ["weights"]),
        ("float32", [-4.0, -4.0, -4.05], ["adapter"]),
        ("float32", [-4.0, float("nan"), -4.05], ["weights"]),
        ("bfloat16", [-1.05, -2.0, -3.0], []),
        ("bfloat16", [-1.1, -2.0, -3.0], ["weights"]),
    ],
)
def test_other_logprobs_are_laid_to_what_makes_them(dtype: str, logprobs: list[float], expected: list[str]) -> None:
    assert codes(compare([replace(TRACE, dtype=dtype)], Serving(logprobs=logprobs))) == expected


def test_figures_are_the_mean_and_the_largest_difference() -> None:
    parity = compare([TRACE], Serving(logprobs=[-1.5, -2.0, -3.25]))
    assert (parity.mean_logprob_difference, parity.max_logprob_difference) == (0.25, 0.5)


def test_how_far_expectations_are_apart_is_measured() -> None:
    parity = compare([TRACE], Serving(logprobs=[-2.0, -2.0, -3.0]))
    # e^-1 expected of a token that serving gives e^-2, and the rest of the rest.
    assert parity.kl_per_token == pytest.approx((exp(-1) + (1 - exp(-1)) * log((1 - exp(-1)) / (1 - exp(-2)))) / 3)


@pytest.mark.parametrize(
    ("logprobs", "over", "code"),
    [
        ([-1.5, -2.0, -3.0], Over(model_id="plain", quantization="none"), "quantization"),
        ([-1.5, -2.0, -3.0], Over(model_id="plain", quantization="nf4"), "weights"),
        ([-1.5, -2.0, -3.0], Over(model_id="plain", quantization="none", forced=True), "weights"),
        ([-4.0, -4.0, -4.05], Over(model_id="plain", quantization="none"), "adapter"),
    ],
)
def test_a_base_that_was_chosen_is_told_as_such_if_it_is_what_differs(
    logprobs: list[float], over: Over, code: str
) -> None:
    parity = compare([replace(TRACE, quantization="nf4")], Serving(logprobs=logprobs), over=over)
    assert (codes(parity), parity.over) == ([code], "plain")


def test_what_the_chosen_base_costs_is_said() -> None:
    over = Over(model_id="plain", quantization="none")
    parity = compare([replace(TRACE, quantization="nf4")], Serving(logprobs=[-1.5, -2.0, -3.0]), over=over)
    assert parity.reasons[0].text == (
        "Logprobs of the same tokens differ by 0.17 on average: trained over NF4 weights and served by choice over the "
        "unquantized ones of 'plain', which answer otherwise by the error of quantization; KL is 0.018 nats a token; "
        "greedy answers agree in 100.0%."
    )


def test_a_chosen_base_within_the_tolerance_passes() -> None:
    over = Over(model_id="plain", quantization="none")
    assert compare([replace(TRACE, quantization="nf4")], Serving(), over=over).passed


def test_a_difference_that_is_no_number_is_no_figure() -> None:
    parity = compare([TRACE], Serving(logprobs=[float("nan"), -2.0, -3.0]))
    assert (parity.passed, parity.mean_logprob_difference) == (False, None)


@pytest.mark.parametrize(
    ("answer", "agreement", "expected"),
    [
        ([7, 8], 1.0, []),
        ([7, 8, 5], 2 / 3, []),
        ([7], 1 / 3, ["greedy"]),
        ([5, 8, 9], 0.0, ["greedy"]),
    ],
)
def test_a_greedy_answer_may_part_only_where_rounding_decides(
    answer: list[int], agreement: float, expected: list[str]
) -> None:
    parity = compare([TRACE], Serving(answer=answer))
    assert (parity.greedy_agreement, codes(parity)) == (agreement, expected)


def test_a_prompt_that_is_served_otherwise_is_told() -> None:
    assert codes(compare([TRACE], Serving(prompt=[*IDS[:6], 6]))) == ["prompt"]


def test_a_prompt_that_no_example_began_with_is_told() -> None:
    asked = Continuation(turn=2, prompt_token_ids=[*IDS[:5], 10], token_ids=[7, 8, 9], margins=[1.0, 1.0, 1.0])
    parity = compare([replace(TRACE, continuation=asked)], Serving(prompt=[*IDS[:5], 10]))
    assert codes(parity) == ["prompt"]
    assert "was not trained on" in parity.reasons[0].text


def test_a_sequence_that_lost_its_end_is_compared_as_far_as_it_goes() -> None:
    assert compare([replace(TRACE, cut=True)], Serving([*IDS, 4, 5], [-1.0, -2.0, -3.0, 0.0, 0.0])).passed


def test_a_reason_is_said_once_for_all_sequences() -> None:
    parity = compare([TRACE] * 3, Serving(IDS[1:]))
    assert codes(parity) == ["bos"]
    assert parity.reasons[0].text.endswith("(and in 2 more)")


def test_serving_that_refuses_fails_with_what_it_said() -> None:
    def refuse(body: dict[str, Any]) -> dict[str, Any]:
        raise NotAnswered("The adapter is gone.")

    parity = compare([TRACE], refuse)
    assert codes(parity) == ["unanswered"]
    assert "The adapter is gone." in parity.sentence()


def test_an_engine_that_does_not_know_the_fields_fails() -> None:
    assert codes(compare([TRACE], lambda body: {"choices": []})) == ["unanswered"]


def test_no_trace_is_no_pass() -> None:
    assert codes(compare([], Serving())) == ["nothing_recorded"]


def test_traces_are_read_as_they_were_written(tmp_path: Path) -> None:
    said = replace(TRACE, messages=[{"role": "user", "content": "a\u2028b\r\nc \U0001f642"}])
    written = [TRACE, said, replace(TRACE, continuation=None)]
    write_traces(tmp_path / "parity.jsonl", written)
    assert read_traces(tmp_path / "parity.jsonl") == written


def test_a_record_of_before_has_nothing_likeliest(tmp_path: Path) -> None:
    write_traces(tmp_path / "parity.jsonl", [TRACE])
    fields = json.loads((tmp_path / "parity.jsonl").read_text())
    del fields["likeliest"]
    (tmp_path / "parity.jsonl").write_text(json.dumps(fields))
    assert read_traces(tmp_path / "parity.jsonl") == [replace(TRACE, likeliest=[])]


def test_a_file_that_holds_no_traces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "parity.jsonl").write_text("{}\n")
    with pytest.raises(UnreadableFile, match=r"parity\.jsonl"):
        read_traces(tmp_path / "parity.jsonl")
