"""One training of an embedder, begun or resumed, and told to the end."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from transformers import PrinterCallback, TrainerCallback

from finetune.adapter import Manifest, base_hash, tokenizer_hash
from finetune.config import Settings
from finetune.encoder.contrastive import ContrastiveTrainer, new_trainer
from finetune.encoder.ground import Ground
from finetune.encoder.triplets import Row
from finetune.encoder.weights import save_encoder
from finetune.events import EventSink, Message, Metrics, ShouldStop, Stop
from finetune.job import CHECKPOINTS, TuningJob
from finetune.train.checkpoints import check_space, newest, recalled
from finetune.train.parts import training_arguments
from finetune.train.precision import Precision
from finetune.train.progress import Cancelled, Progress
from finetune.train.schedule import Schedule, schedule_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LIBRARIES = ("loam-server", "torch", "transformers", "sentence-transformers")
WEIGHT_BYTES, MOMENTS_BYTES = 4, 8
"""Of a weight in float32, and of what AdamW keeps of it."""


class EncoderSession:
    """A trainer with all that belongs to it. It goes on from the newest checkpoint in the job's folder.

    `measured` are figures of the model as it was, which every manifest has.
    """

    def __init__(
        self,
        job: TuningJob,
        ground: Ground,
        model: "SentenceTransformer",
        rows: Sequence[Row],
        sink: EventSink,
        should_stop: ShouldStop,
        *,
        measured: Mapping[str, float],
    ) -> None:
        self._sink, self._measured = sink, measured
        self._shared = _shared(job, ground, model)
        self.schedule = _schedule(job, len(rows))
        self.precision = _precision(job.device)
        _check_space(job, self.schedule, model)
        self._checkpoint = newest(job.folder / CHECKPOINTS)
        earlier = Manifest.read(self._checkpoint) if self._checkpoint else None
        arguments = _arguments(job, self.schedule, self.precision)
        self._trainer = new_trainer(model, rows, ground.queries, arguments, limit=job.settings.max_length)
        self._trainer.checkpoints = job.folder / CHECKPOINTS
        self._trainer.complete = lambda folder: self.manifest().write(folder)
        self._trainer.learned_tokens = earlier.trained_tokens if earlier else 0
        self._progress = Progress(
            self._trainer, self.schedule, sink, should_stop, values=earlier.metrics if earlier else {}
        )
        self._trainer.remove_callback(PrinterCallback)
        self._trainer.add_callback(self._progress)
        self._trainer.add_callback(_Rehearsal(self._trainer, self.schedule, sink))

    @property
    def step(self) -> int:
        """The last step that was made."""
        return int(self._trainer.state.global_step)

    @property
    def tokens(self) -> int:
        """The tokens read so far, over all epochs."""
        return self._trainer.learned_tokens

    def train(self) -> Stop | None:
        """Train to the end, or say why it was not reached."""
        for checkpoint in recalled(self._trainer.checkpoints):
            self._sink(checkpoint)
        try:
            self._trainer.train(resume_from_checkpoint=str(self._checkpoint) if self._checkpoint else None)
        except Cancelled:
            return Stop.CANCEL
        return self._progress.stopped if self.step < self.schedule.steps else None

    def tell(self, values: Mapping[str, float]) -> None:
        """Add figures to those of the last step."""
        self._progress.values |= values
        steps, figures = self.schedule.steps, dict(self._progress.values)
        epochs = float(self.schedule.epochs)
        self._sink(Metrics(step=steps, total_steps=steps, epoch=epochs, values=figures, tokens=self.tokens))

    def save(self, folder: Path) -> None:
        """Write the embedder as it is now."""
        save_encoder(self._trainer.accelerator.unwrap_model(self._trainer.model), folder)

    def manifest(self) -> Manifest:
        """Give the manifest of the embedder as it is now."""
        return Manifest(
            **self._shared,
            steps=self.step,
            trained_tokens=self.tokens,
            metrics={**self._measured, **self._progress.values},
            created_at=int(time.time()),
        )


class _Rehearsal(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Runs one step of the longest rows, once all is in place: what does not fit fails now and not at night."""

    def __init__(self, trainer: ContrastiveTrainer, schedule: Schedule, sink: EventSink) -> None:
        self._trainer, self._schedule, self._sink = trainer, schedule, sink

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= self._schedule.steps:
            return
        rows = list(self._trainer.train_dataset)
        rows.sort(key=lambda row: -sum(len(text) for text in row.values() if isinstance(text, str)))
        longest = rows[: args.per_device_train_batch_size]
        began = time.perf_counter()
        self._trainer.rehearse(longest, [])
        took = time.perf_counter() - began
        self._sink(Message(text=f"The longest batch ({len(longest)} rows) fits: a step of it took {took:.1f} s."))


def _shared(job: TuningJob, ground: Ground, model: "SentenceTransformer") -> dict[str, Any]:
    return {
        "kind": "embedder",
        "method": job.settings.method,
        "base": job.base.source,
        "base_revision": ground.source.revision,
        "base_sha256": base_hash(ground.source.folder),
        "base_license": ground.source.license,
        "quantization": job.settings.quantization,
        "dtype": "float32",
        "template_sha256": None,
        "tokenizer_sha256": tokenizer_hash(model.tokenizer),
        "data_sha256": ground.training.sha256,
        "validation_sha256": ground.validation.sha256 if ground.validation else None,
        "settings": TypeAdapter(Settings).dump_python(job.settings, mode="json"),
        "plan": asdict(job.plan) if job.plan else None,
        "versions": {name: version(name) for name in LIBRARIES},
        "parent": job.parent,
    }


def _schedule(job: TuningJob, rows: int) -> Schedule:
    """A step is one pass: the passages of its batch are what its queries are told apart from."""
    settings = job.settings
    return schedule_of(
        rows,
        epochs=settings.n_epochs,
        micro_batch=settings.batch_size,
        accumulation=1,
        every=settings.checkpoint_steps,
    )


def _check_space(job: TuningJob, schedule: Schedule, model: "SentenceTransformer") -> None:
    weights = sum(weight.numel() for weight in model.parameters())
    check_space(
        job.folder,
        checkpoints=schedule.checkpoints,
        weights=weights * WEIGHT_BYTES,
        state=weights * MOMENTS_BYTES,
    )


def _arguments(job: TuningJob, schedule: Schedule, precision: Precision) -> dict[str, Any]:
    shared = training_arguments(
        job.settings,
        plan=None,
        precision=precision,
        schedule=schedule,
        folder=job.folder / CHECKPOINTS,
        device=job.device,
        report_to=job.report_to,
    )
    # Those are of TRL's trainers alone.
    return {name: value for name, value in shared.items() if not name.startswith("activation_")}


def _precision(device: str) -> Precision:
    """Weights are float32; products are computed in bfloat16 where the device does that itself, and faster."""
    import torch

    if device.startswith("cuda"):
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Precision(weights=torch.float32, result=torch.float32, autocast=bool(fast))
