"""How rows are laid out for TRL's trainers, held against what TRL's own collators make of plain ones."""

from typing import Any

import pytest
import torch
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from finetune.train.dpo import PairCollator
from finetune.train.kto import UnpairedCollator, _weights

PROMPTS = [[1, 2, 3], [7, 8]]
CHOSEN, REJECTED = [[4, 5], [9]], [[6], [10, 11]]


def test_a_pair_of_single_answers_is_laid_out_as_trl_does() -> None:
    rows = [
        {
            "chosen_ids": prompt + chosen,
            "chosen_mask": [False] * len(prompt) + [True] * len(chosen),
            "rejected_ids": prompt + rejected,
            "rejected_mask": [False] * len(prompt) + [True] * len(rejected),
        }
        for prompt, chosen, rejected in zip(PROMPTS, CHOSEN, REJECTED, strict=True)
    ]
    plain = [
        {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
        for prompt, chosen, rejected in zip(PROMPTS, CHOSEN, REJECTED, strict=True)
    ]
    assert_same(PairCollator(pad=0)(rows), DataCollatorForPreference(pad_token_id=0)(plain))


def test_what_a_user_says_within_an_answer_is_not_learned() -> None:
    row = {"chosen_ids": [1, 2, 3, 4], "chosen_mask": [0, 1, 0, 1], "rejected_ids": [1, 5], "rejected_mask": [0, 1]}
    assert PairCollator(pad=0)([row])["completion_mask"].tolist() == [[0, 1, 0, 1], [0, 1, 0, 0]]


def test_labelled_answers_are_laid_out_as_trl_does_with_each_others_neighbours() -> None:
    rows = [
        {"prompt_ids": prompt, "completion_ids": answer, "completion_mask": [True] * len(answer), "label": label}
        for prompt, answer, label in zip(PROMPTS, CHOSEN, (True, False), strict=True)
    ]
    plain = [{**row, "KL_completion_ids": CHOSEN[index - 1]} for index, row in enumerate(rows)]
    expected = DataCollatorForUnpairedPreference(pad_token_id=0)(plain)
    assert_same(UnpairedCollator(pad=0, limit=9)(rows), expected)


def test_a_neighbours_answer_makes_no_sequence_longer_than_the_limit() -> None:
    rows = [
        {"prompt_ids": [1, 2, 3, 4], "completion_ids": [5], "completion_mask": [True], "label": True},
        {"prompt_ids": [6], "completion_ids": [7, 8, 9], "completion_mask": [True] * 3, "label": False},
    ]
    laid_out = UnpairedCollator(pad=0, limit=5)(rows)
    assert laid_out["KL_input_ids"].tolist() == [[1, 2, 3, 4, 7], [6, 5, 0, 0, 0]]


@pytest.mark.parametrize(
    ("labels", "weights"),
    [([True, False], (1, 1)), ([True] * 6 + [False] * 2, (1, 3)), ([True] + [False] * 4, (4, 1)), ([True], (1, 1))],
)
def test_the_rarer_label_weighs_more(labels: list[bool], weights: tuple[float, float]) -> None:
    assert _weights(labels) == weights


def assert_same(made: dict[str, torch.Tensor], expected: dict[str, Any]) -> None:
    assert made.keys() == expected.keys()
    for name, values in made.items():
        assert torch.equal(values, expected[name]), name
