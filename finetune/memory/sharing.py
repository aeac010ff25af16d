"""A model as each of several processes holds it that train it together, though there is but this one.

Each holds the whole model; torch's DistributedDataParallel sums the gradients over all, in buckets that are a second
copy of them. Here they are summed with nobody's, so it takes the memory of the real one, on fake tensors too.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from finetune.memory.fake import DEVICE


def shared(trainer: Any, processes: int) -> Any:
    """Wrap a trainer's model as accelerate does for so many processes, to be called once it has prepared it.

    One backward pass can go through it: before the next, torch would tell the others in which order gradients came.
    """
    model = DistributedDataParallel(
        trainer.model_wrapped,
        process_group=_alone_among(processes),
        # There are no weights to be made the same.
        init_sync=False,
        **trainer.accelerator.ddp_handler.to_kwargs(),
    )
    model.register_comm_hook(None, _summed)
    return model


def _alone_among(processes: int) -> Any:
    """Give a group of its own, which leaves torch's default one to others; what is sent in it goes nowhere."""
    from torch._C._distributed_c10d import FakeProcessGroup

    group = dist.ProcessGroup(dist.HashStore(), 0, processes)
    backend = FakeProcessGroup._create_internal(0, processes)
    group._register_backend(torch.device(DEVICE), dist.ProcessGroup.BackendType.CUSTOM, backend)
    return group


def _summed(_: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A bucket is summed where it lies. The fake group's own answer would hold no tensor."""
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done
