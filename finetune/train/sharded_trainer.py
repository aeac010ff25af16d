"""A trainer of a model whose weights may be shared out, over which transformers' own would stumble."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from finetune.train.shards import is_shared_out, share_out, take_moments, whole_moments


class ShardedTrainer(Trainer):  # type: ignore[misc]  # transformers is not typed here
    """Writes and reads the same checkpoints whether or not the weights are shared out."""

    def share_out(self, device: str, checkpoint: Path | None) -> None:
        """Leave of the model this process's part, on its device, once it has a checkpoint's weights if there is one."""
        if checkpoint is not None:
            self._load_from_checkpoint(str(checkpoint))
        share_out(self.model, device)

    def _defer_fsdp_gradient_reduction(self) -> AbstractContextManager[None]:
        """Put it off for no pass: until its gradients are summed, a process holds those of all weights."""
        return nullcontext()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *model: Any) -> None:
        if not is_shared_out(self.model):
            # sentence-transformers' own takes no model.
            super()._load_from_checkpoint(resume_from_checkpoint, *model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not is_shared_out(self.model):
            super()._save_optimizer_and_scheduler(output_dir)
            return
        moments = whole_moments(self.optimizer)
        if self.args.should_save:
            torch.save(moments, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not is_shared_out(self.model):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        take_moments(self.optimizer, torch.load(Path(checkpoint) / OPTIMIZER_NAME, map_location="cpu"))
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME))
