"""What a trainer tells while it runs and how it is told to stop: transformers' callbacks in, events out."""

import math
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from finetune.errors import TrainingFailed
from finetune.events import Checkpoint, EventSink, Metrics, ShouldStop, Stop
from finetune.train import randomness
from finetune.train.checkpoints import named
from finetune.train.schedule import Schedule
from finetune.train.trainer import LEARNED, EvaluationStopped, JobTrainer

FIGURES = {
    "mean_token_accuracy": "mean_token_accuracy",
    "rewards/chosen": "rewards_chosen",
    "rewards/rejected": "rewards_rejected",
    "rewards/margins": "rewards_margins",
    "rewards/accuracies": "rewards_accuracies",
    "margin": "rewards_margins",
    "accuracy": "rewards_accuracies",
    "mean_reward": "rewards_mean",
    "kl": "kl",
}
"""TRL's names of figures that training steps and evaluations have, and those of events."""

ONLY_TRAINING = {"loss": "train_loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm"}
OF_WHOLE_FILE = ("valid_loss", "valid_mean_token_accuracy")


class Cancelled(Exception):
    """A training was cancelled between two steps."""


class Progress(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Steers one training: each step is told, a due one is evaluated and saved, and a stop is followed at once.

    `values` are the figures of the step that was last told; a training that is resumed begins with its checkpoint's.
    """

    def __init__(
        self,
        trainer: JobTrainer,
        schedule: Schedule,
        sink: EventSink,
        should_stop: ShouldStop,
        *,
        values: Mapping[str, float],
    ) -> None:
        self._trainer, self._schedule, self._sink, self._should_stop = trainer, schedule, sink, should_stop
        self._whole = randomness.state(), trainer.learned_tokens
        self.values = dict(values)
        self.stopped: Stop | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Recall what a checkpoint knows of the steps before it, up to the figures that it begins with."""
        values, self.values = self.values, {}
        for logs in state.log_history:
            if self._takes(logs, logs["step"]):
                self._tell(state, logs, recalled=True)
        self.values = values

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._whole = randomness.state(), self._trainer.learned_tokens
        control.should_log = True
        if self._schedule.due(state.global_step):
            control.should_evaluate = self._trainer.eval_dataset is not None
            control.should_save = True
        self._follow(control)

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._trainer.accelerator.num_processes == 1:
            self._follow(control)
        if self.stopped:
            # The step is given up; what its first part has drawn is drawn again when it is run anew.
            drawn, self._trainer.learned_tokens = self._whole
            randomness.restore(drawn)
            control.should_save = state.global_step > 0

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._trainer.accelerator.num_processes == 1:
            self._follow(control)
        if self.stopped:
            raise EvaluationStopped

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        if self._takes(logs, state.global_step):
            self._tell(state, {**logs, "step": state.global_step, "epoch": state.epoch})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = named(self._trainer.checkpoints, state.global_step)
        self._sink(Checkpoint(step=state.global_step, folder=folder, values=dict(self.values)))

    def _takes(self, logs: Mapping[str, float], step: int) -> bool:
        """Take the figures of a step, and say whether there were any."""
        if "loss" in logs:
            self.values = _training(logs)
            if not math.isfinite(self.values["train_loss"]):
                raise _diverged(step)
        elif "eval_loss" in logs:
            self.values |= _validation(logs)
        else:
            return False
        return True

    def _tell(self, state: Any, logs: Mapping[str, Any], *, recalled: bool = False) -> None:
        self._sink(
            Metrics(
                step=logs["step"],
                total_steps=state.max_steps,
                epoch=logs["epoch"],
                values=dict(self.values),
                tokens=int(logs[LEARNED]),
                recalled=recalled,
            )
        )

    def _follow(self, control: Any) -> None:
        """Do as is asked: a pause keeps the step it is at, a cancelled training keeps nothing more."""
        self.stopped = self.stopped or self._asked()
        if self.stopped is Stop.CANCEL:
            raise Cancelled
        if self.stopped is Stop.PAUSE:
            control.should_save = control.should_training_stop = True

    def _asked(self) -> Stop | None:
        accelerator = self._trainer.accelerator
        if accelerator.num_processes == 1:
            return self._should_stop()
        from accelerate.utils import broadcast_object_list

        asked = [self._should_stop() if accelerator.is_main_process else None]
        return broadcast_object_list(asked)[0]  # type: ignore[no-any-return]


def _training(logs: Mapping[str, float]) -> dict[str, float]:
    names = ONLY_TRAINING | FIGURES | {"mean_token_accuracy": "train_mean_token_accuracy"}
    return {told: float(logs[name]) for name, told in names.items() if name in logs}


def _validation(logs: Mapping[str, float]) -> dict[str, float]:
    """OpenAI tells figures of a part of the validation file from those of all of it; here it is always all."""
    names = {"loss": "loss"} | FIGURES
    values = {f"valid_{told}": float(logs[f"eval_{name}"]) for name, told in names.items() if f"eval_{name}" in logs}
    return values | {f"full_{name}": value for name, value in values.items() if name in OF_WHOLE_FILE}


def _diverged(step: int) -> TrainingFailed:
    return TrainingFailed(
        f"The training diverged: the loss of step {step} is not a number.",
        code="diverged",
        hint="Lower the learning rate, or look for examples that are not text of the kind the model knows.",
    )
