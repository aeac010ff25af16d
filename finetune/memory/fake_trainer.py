"""The trainer that a job would have, of a model without weights and of rows of nothing."""

import copy
from pathlib import Path
from typing import Any

from finetune.config import Settings
from finetune.data.tokens import Row
from finetune.memory.fake import DEVICE, fake_model, real
from finetune.memory.measure import Training
from finetune.plan import Plan
from finetune.train.assemble import REWARD
from finetune.train.lora import attach
from finetune.train.parts import Parts, training_arguments
from finetune.train.precision import precision_of
from finetune.train.schedule import Schedule
from finetune.train.session import TRAINERS
from finetune.types import METHODS, Kind

PAD, PADDING = 0, "<pad>"


def fake_trainer(training: Training, plan: Plan, folder: Path) -> Any:
    """Put a trainer together as `assemble` does; to be called within `faking`."""
    settings = training.settings
    reward = settings.method == REWARD
    precision = precision_of(training.config, lora=settings.lora is not None, device=plan.device)
    config = copy.deepcopy(training.config)
    config.get_text_config().pad_token_id = PAD

    def base() -> Any:
        return fake_model(config, quantization=settings.quantization, dtype=precision.weights, reward=reward)

    model = base() if settings.lora is None else attach(base(), settings.lora, reward=reward)
    full_preferences = settings.lora is None and settings.method in ("dpo", "kto")
    arguments = training_arguments(
        settings,
        plan=plan,
        precision=precision,
        schedule=Schedule(epochs=1, steps_per_epoch=1),
        folder=folder,
        device=DEVICE,
    )
    parts = Parts(
        settings=settings,
        model=model,
        new_adapter=training.new_adapter,
        reference=base().requires_grad_(False) if full_preferences else None,
        tokenizer=_tokenizer(),
        training=_dataset(settings, plan),
        validation=None,
        # TRL asks for the accelerator that it offloads from.
        arguments={**arguments, "activation_offloading": False},
    )
    return TRAINERS[settings.method](parts)


def fake_rows(settings: Settings, plan: Plan) -> list[Row]:
    """Give the rows of a pass, each as long as any, with everything in them learned."""
    ids, mask = [PAD] * plan.longest, [True] * plan.longest
    row: Row
    match METHODS[settings.method]:
        case Kind.SUPERVISED:
            row = {"input_ids": ids, "labels": ids}
            if settings.packing:
                row["seq_lengths"] = [plan.longest - plan.longest // 2, plan.longest // 2]
        case Kind.PREFERENCE:
            row = {"chosen_ids": ids, "chosen_mask": mask, "rejected_ids": ids, "rejected_mask": mask}
        case _:
            row = {"prompt_ids": ids[:1], "completion_ids": ids[1:], "completion_mask": mask[1:], "label": True}
    return [row] * plan.micro_batch


def has_padding(settings: Settings, plan: Plan) -> bool:
    """Say whether a row of a pass may hold less than one sequence that fills it, or more."""
    alone = METHODS[settings.method] is Kind.SUPERVISED and not settings.packing
    return plan.micro_batch > 1 or not alone


def _dataset(settings: Settings, plan: Plan) -> Any:
    from datasets import Dataset

    with real():
        return Dataset.from_list(fake_rows(settings, plan))


def _tokenizer() -> Any:
    """Give a tokenizer that can pad, which is all that is asked of one where rows are tokens."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    with real():
        words = Tokenizer(WordLevel({PADDING: PAD}, unk_token=PADDING))
        return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=PADDING)
