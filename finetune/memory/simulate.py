"""Runs one training step on fake tensors, with the very trainer that a job uses, and measures what memory it takes.

Nothing is loaded, learned or written, and no GPU is needed: only shapes are worked out. What is counted is what torch
allocates for tensors on the job's device. Not counted are the interpreter, libraries, CUDA's context, the holes in
CUDA's cache, and the workspace of single kernels; finetune.plan leaves room for these. Nor are NCCL's buffers.

Of a training that several devices share one device is simulated, with what sharing puts there.
"""

import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from finetune.memory.fake import DEVICE, FakeMemory, faking, real
from finetune.memory.fake_trainer import fake_rows, fake_trainer, has_padding
from finetune.memory.measure import Training
from finetune.memory.sharing import meshed, share_out, shared
from finetune.memory.stand_ins import Offloading, paged_moments
from finetune.plan import ADAPTER, GRADIENTS, OPTIMIZER, WEIGHTS, Peaks, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a training would take, in bytes; `parts` are those of the peak of a step."""

    peaks: Peaks
    parts: Mapping[str, int]


def simulate(training: Training, plan: Plan) -> Measured:
    """Measure a training as the plan has it, whose own figures are not read."""
    # Flash attention takes no mask, and as much memory as torch's own without one.
    padded = has_padding(training.settings, plan) and plan.attention == "sdpa"
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(action="ignore"),
        faking(plan.device, padded=padded) as memory,
        ExitStack() as stack,
    ):
        trainer = fake_trainer(training, plan, Path(folder))
        if plan.sharded:
            share_out(trainer, stack.enter_context(meshed(plan.processes)))
        measuring = _Measuring(trainer, memory, training, plan)
        trainer.add_callback(measuring)
        try:
            trainer.train()
        except _Measured as done:
            return done.measured
    raise AssertionError("a training began without saying so")


class _Measured(Exception):
    """All is measured, and the training can be given up."""

    def __init__(self, measured: Measured) -> None:
        super().__init__()
        self.measured = measured


class _Measuring(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Takes over once the training has begun, when all is in place that takes memory."""

    def __init__(self, trainer: Any, memory: FakeMemory, training: Training, plan: Plan) -> None:
        self._trainer, self._memory, self._settings, self._plan = trainer, memory, training.settings, plan
        self._evaluated = replace(plan, longest=training.evaluated or plan.longest)
        self._trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        memory = self._memory
        self._name_weights()
        memory.restart()
        if self._plan.processes > 1 and not self._plan.sharded:
            with memory.naming(GRADIENTS):
                self._trainer.model_wrapped = shared(self._trainer, self._plan.processes)
        moments = self._optimize()
        peak, parts = memory.peak, memory.parts
        self._step()
        if memory.peak > peak:
            peak, parts = memory.peak, memory.parts
        saving = self._save()
        memory.restart()
        self._evaluate()
        del moments
        peaks = Peaks(step=peak, evaluation=memory.peak, saving=saving)
        raise _Measured(Measured(peaks=peaks, parts=dict(parts)))

    def _name_weights(self) -> None:
        """Tell weights from an adapter; of a model that is tuned as a whole all are weights."""
        trained = WEIGHTS if self._settings.lora is None else ADAPTER
        for model in (self._trainer.model, getattr(self._trainer, "ref_model", None)):
            if model is None:
                continue
            self._memory.name(WEIGHTS, [*model.parameters(), *model.buffers()])
            states = [getattr(module, "quant_state", None) for module in model.modules()]
            for state in states:
                if state is not None:
                    nested = state.state2
                    self._memory.name(WEIGHTS, [state.absmax, state.code, state.offset, nested.absmax, nested.code])
        self._memory.name(trained, self._trained)

    def _optimize(self) -> Any:
        """Run the optimizer and give its moments, which are there when the step comes."""
        for weight in self._trained:
            weight.grad = torch.zeros_like(weight)
            weight.register_post_accumulate_grad_hook(lambda weight: self._memory.name(GRADIENTS, [weight.grad]))
        self._memory.name(GRADIENTS, [weight.grad for weight in self._trained])
        if self._plan.optimizer.startswith("paged"):
            moments = paged_moments(self._trained)
        else:
            self._trainer.optimizer.step()
            states = self._trainer.optimizer.state.values()
            moments = [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]
        self._memory.name(OPTIMIZER, moments)
        return moments

    def _step(self) -> None:
        """Run a pass, over the gradients of those before it if a step has several."""
        if self._plan.accumulation == 1:
            self._trainer.model.zero_grad()
        self._memory.restart()
        if self._plan.activation_offloading:
            stays = (WEIGHTS, ADAPTER)
            offloading = Offloading(lambda tensor: self._memory.part_of(tensor) in stays)
            self._trainer.maybe_activation_offload_context = offloading
        items = torch.ones((), dtype=torch.long, device=DEVICE)
        self._trainer.training_step(self._trainer.model_wrapped, self._batch(self._plan), num_items_in_batch=items)
        self._trainer.model.zero_grad()

    def _save(self) -> int:
        """Put each trained weight together, as those of it must be that are shared out, and give the peak."""
        self._memory.restart()
        for weight in self._trained:
            if isinstance(weight, DTensor):
                weight.full_tensor()
        return self._memory.peak

    def _evaluate(self) -> None:
        self._trainer.model.eval()
        batch = self._batch(self._evaluated)
        self._trainer.prediction_step(self._trainer.model_wrapped, batch, prediction_loss_only=True)

    def _batch(self, plan: Plan) -> dict[str, Any]:
        """Give the fullest batch there can be, as the job's own collator lays it out."""
        with real():
            batch = self._trainer.data_collator(fake_rows(self._settings, plan))
        return {
            name: torch.empty_like(value, device=DEVICE) if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
        }
