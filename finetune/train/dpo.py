"""Direct preference optimisation (arXiv 2305.18290), by TRL's DPOTrainer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from trl import DPOConfig, DPOTrainer

from finetune.train.lora import unrounded
from finetune.train.parts import Parts
from finetune.train.trainer import ExampleTrainer, Inputs, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCollator:
    """Lays out pairs as DPOTrainer takes them: the chosen sequences, then the rejected ones, padded on the right.

    `completion_mask` marks what is learned, so that in an answer of several turns the user's do not count.
    """

    pad: int

    def __call__(self, rows: Rows) -> dict[str, torch.Tensor]:
        ids = [torch.tensor(row[name]) for name in ("chosen_ids", "rejected_ids") for row in rows]
        masks = [torch.tensor(row[name]).long() for name in ("chosen_mask", "rejected_mask") for row in rows]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
            "completion_mask": pad_sequence(masks, batch_first=True),
        }


class PreferenceTrainer(ExampleTrainer, DPOTrainer):  # type: ignore[misc]  # trl is not typed here
    """Learns which of two answers is the better: the loss is the mean over the pairs of a step."""

    def items_in(self, inputs: Inputs) -> int:
        return len(inputs["input_ids"]) // 2

    def learned_in(self, inputs: Inputs) -> int:
        return int(inputs["completion_mask"][:, 1:].sum())

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["chosen_ids", "chosen_mask", "rejected_ids", "rejected_mask"]


def new_trainer(parts: Parts) -> PreferenceTrainer:
    """Give a trainer of rows with `chosen_ids`, `chosen_mask`, `rejected_ids` and `rejected_mask`.

    What is held against is the model as it was: without its adapter if that is new, with a copy of the adapter if one
    is gone on from, and for a full tuning `parts.reference`.
    """
    arguments = DPOConfig(**parts.arguments, max_length=None, beta=parts.settings.beta)
    tokenizer = parts.tokenizer
    with unrounded(parts.model):
        trainer = PreferenceTrainer(
            parts.model,
            ref_model=parts.reference,
            args=arguments,
            data_collator=PairCollator(pad=tokenizer.pad_token_id),
            train_dataset=parts.training,
            eval_dataset=parts.validation,
            processing_class=tokenizer,
        )
    parts.drop_needless_reference()
    return trainer
