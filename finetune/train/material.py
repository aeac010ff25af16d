"""What a job trains on, brought together before any weight is loaded: the base's files, its tokenizer, both files in
tokens, and how many steps that makes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data.tokens import Encoder, Tokens, encode
from finetune.errors import ModelUnavailable, TrainingFailed
from finetune.job import TuningJob
from finetune.source import Source, locate
from finetune.tokenizer import load_tokenizer
from finetune.train.precision import Precision, precision_of
from finetune.train.ranks import processes, rank
from finetune.train.schedule import Schedule, passes_of, schedule_of

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """`rows` and `validation_rows` are what the trainer takes: of a packed training file, several examples a row."""

    source: Source
    tokenizer: "PreTrainedTokenizerBase"
    training: Tokens
    validation: Tokens | None
    rows: "datasets.Dataset"
    precision: Precision
    schedule: Schedule


def gather(job: TuningJob) -> Material:
    """Raises ModelUnavailable, ChatFormatError, InvalidDataset, UnreadableFile, TrainingFailed."""
    source = locate(job.base)
    tokenizer = load_tokenizer(str(_tokenizer_folder(job, source)))
    settings = job.settings
    encoder = Encoder(tokenizer, limit=settings.max_length, learn_all=settings.train_on == "all")
    folder = job.folder / TOKENS / str(rank())
    training = encode(job.training_file, encoder, method=settings.method, into=folder / "training.arrow")
    validation = None
    if job.validation_file is not None:
        validation = encode(job.validation_file, encoder, method=settings.method, into=folder / "validation.arrow")
    micro_batch, accumulation = passes_of(settings, job.plan, processes())
    rows = _packed(training, settings.max_length) if settings.packing else training.rows
    return Material(
        source=source,
        tokenizer=tokenizer,
        training=training,
        validation=validation,
        rows=rows,
        precision=_precision(job, source),
        schedule=schedule_of(
            len(rows),
            epochs=settings.n_epochs,
            micro_batch=micro_batch * processes(),
            accumulation=accumulation,
            every=settings.checkpoint_steps,
        ),
    )


def _tokenizer_folder(job: TuningJob, source: Source) -> Path:
    """A tuned model's folder has the tokenizer that it was trained with."""
    adapter = job.base.adapter
    return adapter if adapter is not None and (adapter / "tokenizer_config.json").exists() else source.folder


def _precision(job: TuningJob, source: Source) -> Precision:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(source.folder)
    except (OSError, ValueError, KeyError) as exc:
        raise ModelUnavailable(f"The model {job.base.source!r} cannot be read: {exc}") from exc
    return precision_of(config, lora=job.settings.lora is not None or job.base.adapter is not None, device=job.device)


def _packed(tokens: Tokens, limit: int | None) -> "datasets.Dataset":
    """Lay examples end to end in rows of at most `limit` tokens, the fullest fit first; none is cut or mixed."""
    from trl import pack_dataset

    if limit is None:
        raise TrainingFailed(
            "Rows cannot be packed: the model does not say how long an input may be.",
            code="no_max_length",
            hint="Set max_length.",
        )
    return pack_dataset(tokens.rows, seq_length=limit, strategy="bfd")
