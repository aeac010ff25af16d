"""Kahneman-Tversky optimisation (arXiv 2402.01306), by TRL's KTOTrainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from trl import KTOConfig, KTOTrainer

from finetune.data.tokens import length_of
from finetune.errors import TrainingFailed
from finetune.train.lora import unrounded
from finetune.train.parts import Parts
from finetune.train.trainer import ExampleTrainer, Inputs, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpairedCollator:
    """Lays out labelled answers as KTOTrainer takes them, padded on the right.

    Beside each prompt with its own answer goes the same prompt with its neighbour's, from which the divergence from
    the reference is estimated. No sequence gets longer than `limit`.
    """

    pad: int
    limit: int

    def __call__(self, rows: Rows) -> dict[str, torch.Tensor]:
        neighbours = [*rows[-1:], *rows[:-1]]
        matched, mismatched = self._laid_out(rows, rows), self._laid_out(rows, neighbours)
        return {
            **matched,
            **{f"KL_{name}": values for name, values in mismatched.items()},
            "label": torch.tensor([row["label"] for row in rows]),
        }

    def _laid_out(self, prompts: Rows, answers: Rows) -> dict[str, torch.Tensor]:
        ids, masks = [], []
        for prompt, answer in zip(prompts, answers, strict=True):
            asked = prompt["prompt_ids"]
            ids.append(torch.tensor([*asked, *answer["completion_ids"]][: self.limit]))
            masks.append(torch.tensor([*[0] * len(asked), *map(int, answer["completion_mask"])][: self.limit]))
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
            "completion_mask": pad_sequence(masks, batch_first=True),
        }


class UnpairedTrainer(ExampleTrainer, KTOTrainer):  # type: ignore[misc]  # trl is not typed here
    """Learns from single answers whether they are good.

    The divergence is estimated anew for each micro-batch, as KTO's authors do it, so that a step in parts is not
    quite the step in one.
    """

    def items_in(self, inputs: Inputs) -> int:
        return len(inputs["input_ids"])

    def learned_in(self, inputs: Inputs) -> int:
        return int(inputs["completion_mask"][:, 1:].sum())

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["prompt_ids", "completion_ids", "completion_mask", "label"]


def new_trainer(parts: Parts) -> UnpairedTrainer:
    """Give a trainer of rows with `prompt_ids`, `completion_ids`, `completion_mask` and `label`.

    Both labels weigh the same in all. What is held against is chosen as in `finetune.train.dpo`.
    """
    if parts.arguments["per_device_train_batch_size"] < 2:
        raise TrainingFailed(
            "KTO learns from answers side by side, and a step has only one.",
            code="batch_too_small",
            hint="Set batch_size to 2 or more, or lower max_length so that two fit.",
        )
    good, bad = _weights(parts.training["label"])
    arguments = KTOConfig(
        **parts.arguments,
        max_length=None,
        beta=parts.settings.beta,
        desirable_weight=good,
        undesirable_weight=bad,
        # TRL pairs neighbours once, in the order of the file; here the collator does, whatever the order.
        train_sampling_strategy="sequential",
    )
    longest = max(length_of(row) for rows in (parts.training, parts.validation or ()) for row in rows)
    with unrounded(parts.model):
        trainer = UnpairedTrainer(
            parts.model,
            ref_model=parts.reference,
            args=arguments,
            data_collator=UnpairedCollator(pad=parts.tokenizer.pad_token_id, limit=longest),
            train_dataset=parts.training,
            eval_dataset=parts.validation,
            processing_class=parts.tokenizer,
        )
    trainer.args.train_sampling_strategy = "random"
    parts.drop_needless_reference()
    return trainer


def _weights(labels: Sequence[bool]) -> tuple[float, float]:
    """Give the weights of a good and of a bad answer: the rarer weighs more (section 4 of the paper)."""
    good = sum(labels)
    bad = len(labels) - good
    if not good or not bad:
        return 1.0, 1.0
    return max(1.0, bad / good), max(1.0, good / bad)
