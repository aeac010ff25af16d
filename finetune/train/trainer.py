"""What every trainer of loam does differently from TRL's: it counts exactly, saves whole, and sends nothing away."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from finetune.train.checkpoints import NEW, drop_trainer_state, named, writing
from finetune.train.randomness import apart
from finetune.train.sharded_trainer import ShardedTrainer
from finetune.train.shards import is_shared_out, whole_weights
from finetune.train.weights import save_weights

Inputs = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]
TRAINER_STATE = "trainer_state.json"
LEARNED = "learned_tokens"
"""What a log calls the tokens learned so far."""

GROUPED = ("params", "model", "optimizer_dict")
"""Names under which an optimizer's options may hold the weights themselves, in groups."""


class EvaluationStopped(Exception):
    """An evaluation was broken off, since the training is to stop."""


class JobTrainer(ShardedTrainer, ABC):
    """Goes before one of TRL's trainers among the bases of a class, and leaves the training itself to that one.

    TRL means the figures of a step over its micro-batches, whatever their size; here each counts by its items, so
    that a step of 1 x 8 examples and one of 8 x 1 are told alike. `learned_tokens` counts over the whole training.
    `checkpoints` is their folder, and `complete` adds to a checkpoint's weights what else serving needs.
    """

    checkpoints: Path
    complete: Callable[[Path], None]
    _total_train_tokens: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.learned_tokens = 0
        self.current_gradient_accumulation_steps = 1
        self._items: dict[str, list[int]] = {"train": [], "eval": []}
        self._valid_losses: list[float] = []
        super().__init__(*args, **kwargs)

    @abstractmethod
    def items_in(self, inputs: Inputs) -> int:
        """Count what the loss of a batch is a mean over."""

    @abstractmethod
    def learned_in(self, inputs: Inputs) -> int:
        """Count the tokens of a batch that are learned."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        mode = "train" if self.model.training else "eval"
        items, learned = self.items_in(inputs), self.learned_in(inputs)
        given = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if mode == "train":
            self.learned_tokens += int(self._over_processes(learned))
        else:
            self._valid_losses.append(float((given[0] if return_outputs else given).detach()))
        self._items[mode].append(items)
        return given

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        mode = "train" if self.model.training else "eval"
        items = self._items[mode]
        for name, values in self._metrics[mode].items():
            if len(values) == len(items):
                self._metrics[mode][name] = [_mean(values, items)]
        if "eval_loss" in logs:
            summed = sum(loss * count for loss, count in zip(self._valid_losses, items, strict=True))
            logs["eval_loss"] = self._over_processes(summed) / self._over_processes(sum(items))
        logs[LEARNED] = self.learned_tokens
        super().log(logs, start_time)
        items.clear()
        self._valid_losses.clear()

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate so that the training goes on as if nothing had been; broken off, it gives nothing."""
        with apart():
            try:
                return dict(super().evaluate(*args, **kwargs))
            except EvaluationStopped:
                self.control.should_evaluate = False
                self._forget()
                return {}

    def rehearse(self, rows: Rows, validation: Rows) -> None:
        """Run the worst step on these rows, and an evaluation of those, that leave no trace.

        To be called once training has begun, when all is in place that takes memory. What only a later step finds
        there is put in place too: the optimizer's moments, and the gradients of the passes before.
        """
        learned, tokens = self.learned_tokens, self._total_train_tokens
        with apart():
            moments = None if self.optimizer.state else self._throwaway_optimizer()
            if self.args.gradient_accumulation_steps == 1:
                self.model.zero_grad()
            self.training_step(self.model_wrapped, self.data_collator(list(rows)))
            self.model.zero_grad()
            del moments
            if validation:
                self.model.eval()
                batch = self.data_collator(list(validation))
                self.prediction_step(self.model_wrapped, batch, prediction_loss_only=True)
                self.model.train()
        self.learned_tokens, self._total_train_tokens = learned, tokens
        self._forget()

    def _throwaway_optimizer(self) -> Any:
        """Give one that has made a step of nothing, which leaves its moments and gradients and changes no weight."""
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        for weight in trained:
            weight.grad = torch.zeros_like(weight)
        options = {name: value for name, value in options.items() if name not in GROUPED} | {"lr": 0.0}
        optimizer = kind(trained, **options)
        optimizer.step()
        return optimizer

    def _forget(self) -> None:
        """Drop the figures that were gathered since the last log."""
        for mode in ("train", "eval"):
            self._items[mode].clear()
            self._metrics[mode].clear()
        self._valid_losses.clear()

    def _over_processes(self, figure: float) -> float:
        """Sum a figure over all processes."""
        if self.accelerator.num_processes == 1:
            return figure
        return float(self.accelerator.reduce(torch.tensor(figure, dtype=torch.float64, device=self.accelerator.device)))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        target = named(self.checkpoints, self.state.global_step)
        if target.exists():
            return
        with writing(target) if self.args.should_save else nullcontext(self.checkpoints / NEW) as folder:
            self.accelerator.wait_for_everyone()
            self.save_model(str(folder), _internal_call=True)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self._save_rng_state(str(folder))
            if self.args.should_save:
                self.state.save_to_json(str(folder / TRAINER_STATE))
                self.complete(folder)
            self.accelerator.wait_for_everyone()
        if self.args.should_save:
            drop_trainer_state(self.checkpoints, keep=1)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if is_shared_out(self.model):
            state_dict = whole_weights(self.model)
        if self.args.should_save and output_dir is not None:
            save_weights(self.accelerator.unwrap_model(self.model), Path(output_dir), state_dict)

    def _send_telemetry(self) -> None:
        """Send none."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none here; a model's card is written when it is exported."""


class ExampleTrainer(JobTrainer):
    """A JobTrainer whose loss is a mean over the examples of a step. TRL means over micro-batches of any size."""

    loss_is_scaled_for_ga = True

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        given = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if num_items_in_batch is None or return_outputs:
            return given
        return given * self.items_in(inputs) / num_items_in_batch

    def _get_num_items_in_batch(self, batch_samples: list[Inputs], device: Any) -> int:
        return sum(map(self.items_in, batch_samples))


def _mean(values: Sequence[float], items: Sequence[int]) -> float:
    total = sum(items)
    return sum(value * count for value, count in zip(values, items, strict=True)) / total if total else 0.0
