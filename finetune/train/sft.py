"""Supervised tuning, by TRL's SFTTrainer."""

from trl import SFTConfig, SFTTrainer

from finetune.data.tokens import IGNORED
from finetune.train.lora import unrounded
from finetune.train.parts import Parts
from finetune.train.trainer import Inputs, JobTrainer


class SupervisedTrainer(JobTrainer, SFTTrainer):  # type: ignore[misc]  # trl is not typed here
    """Learns to imitate: the loss is the mean over the learned tokens of a step, however it is cut up."""

    def items_in(self, inputs: Inputs) -> int:
        return self.learned_in(inputs)

    def learned_in(self, inputs: Inputs) -> int:
        return int((inputs["labels"][:, 1:] != IGNORED).sum())


def new_trainer(parts: Parts) -> SupervisedTrainer:
    """Give a trainer of rows with `input_ids` and `labels`, with `seq_lengths` too where they are packed."""
    settings = parts.settings
    arguments = SFTConfig(
        **parts.arguments,
        max_length=None,
        # Packed rows are laid end to end; the positions keep their sequences apart.
        padding_free=settings.packing,
        neftune_noise_alpha=settings.neftune_noise_alpha,
    )
    with unrounded(parts.model):
        return SupervisedTrainer(
            parts.model,
            args=arguments,
            train_dataset=parts.training,
            eval_dataset=parts.validation,
            processing_class=parts.tokenizer,
        )
