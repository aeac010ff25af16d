"""One training, begun or resumed, and told to the end."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import PrinterCallback

from finetune.adapter import Manifest
from finetune.events import EventSink, Message, ShouldStop, Stop
from finetune.job import CHECKPOINTS, TuningJob
from finetune.train import dpo, kto, reward, sft
from finetune.train.assemble import assemble
from finetune.train.checkpoints import newest, recalled, step_of
from finetune.train.material import Material
from finetune.train.parts import Parts
from finetune.train.passport import Passport
from finetune.train.progress import Cancelled, Progress
from finetune.train.ranks import shares_out
from finetune.train.rehearsal import Rehearsal
from finetune.train.trainer import JobTrainer

TRAINERS: Mapping[str, Callable[[Parts], JobTrainer]] = {
    "supervised": sft.new_trainer,
    "dpo": dpo.new_trainer,
    "kto": kto.new_trainer,
    "reward": reward.new_trainer,
}


class Session:
    """A trainer with all that belongs to it. It goes on from the newest checkpoint in the job's folder."""

    def __init__(self, job: TuningJob, material: Material, sink: EventSink, should_stop: ShouldStop) -> None:
        self._job, self._material, self._sink = job, material, sink
        self._passport = Passport(job, material)
        self._checkpoint = newest(job.folder / CHECKPOINTS)
        earlier = Manifest.read(self._checkpoint) if self._checkpoint else None
        self.trainer = TRAINERS[job.settings.method](assemble(job, material))
        if shares_out(job):
            self.trainer.share_out(job.device, self._checkpoint)
        self.trainer.checkpoints = job.folder / CHECKPOINTS
        self.trainer.complete = self._complete
        self.trainer.learned_tokens = earlier.trained_tokens if earlier else 0
        values = earlier.metrics if earlier else {}
        self.progress = Progress(self.trainer, material.schedule, sink, should_stop, values=values)
        self.trainer.remove_callback(PrinterCallback)
        self.trainer.add_callback(self.progress)
        self.trainer.add_callback(Rehearsal(self.trainer, material, sink))
        # A pause during an evaluation leaves it to be done.
        owed = self._checkpoint is not None and material.schedule.due(step_of(self._checkpoint))
        self.trainer.args.eval_on_start = owed and material.validation is not None and "valid_loss" not in values

    @property
    def step(self) -> int:
        """The last step that was made."""
        return int(self.trainer.state.global_step)

    def train(self) -> Stop | None:
        """Train to the end, or say why it was not reached."""
        if self._checkpoint:
            self._sink(Message(text=f"Going on from the checkpoint of step {step_of(self._checkpoint)}."))
        for checkpoint in recalled(self.trainer.checkpoints):
            self._sink(checkpoint)
        try:
            self.trainer.train(resume_from_checkpoint=str(self._checkpoint) if self._checkpoint else None)
        except Cancelled:
            return Stop.CANCEL
        return self.progress.stopped if self.step < self._material.schedule.steps else None

    def manifest(self, dtype: Any) -> Manifest:
        """Give the manifest of the model as it is now, whose base is to compute in `dtype`."""
        return self._passport.manifest(
            kind=self._kind,
            dtype=dtype,
            steps=self.step,
            trained_tokens=self.trainer.learned_tokens,
            metrics=self.progress.values,
        )

    @property
    def _kind(self) -> str:
        if self._job.settings.method == "reward":
            return "reward"
        # Not `self.model`: unwrapping takes autocast off, and the training goes on.
        return "adapter" if hasattr(self.trainer.model, "peft_config") else "full"

    @property
    def model(self) -> Any:
        """The model as it will be served: without what training puts around it."""
        return self.trainer.accelerator.unwrap_model(self.trainer.model, keep_fp32_wrapper=False)

    def _complete(self, folder: Path) -> None:
        """Make of a checkpoint's weights a model that can be served."""
        self._material.tokenizer.save_pretrained(folder)
        self.manifest(self._material.precision.weights).write(folder)
