"""Reward models (Bradley-Terry, as in arXiv 2203.02155), by TRL's RewardTrainer."""

from trl import RewardConfig, RewardTrainer

from finetune.train.lora import unrounded
from finetune.train.parts import Parts
from finetune.train.trainer import ExampleTrainer, Inputs


class ScoreTrainer(ExampleTrainer, RewardTrainer):  # type: ignore[misc]  # trl is not typed here
    """Learns to give the better of two conversations the higher number. Every token of both counts as learned from."""

    def items_in(self, inputs: Inputs) -> int:
        return len(inputs["input_ids"]) // 2

    def learned_in(self, inputs: Inputs) -> int:
        return int(inputs["attention_mask"].sum())


def new_trainer(parts: Parts) -> ScoreTrainer:
    """Give a trainer of rows with `chosen_ids` and `rejected_ids`, for a model whose head gives one number."""
    with unrounded(parts.model):
        return ScoreTrainer(
            parts.model,
            args=RewardConfig(**parts.arguments, max_length=None),
            train_dataset=parts.training,
            eval_dataset=parts.validation,
            processing_class=parts.tokenizer,
        )
