"""A model as each of several processes holds it that train it together, though there is but this one.

Where each holds the whole model, torch's DistributedDataParallel sums the gradients over all, in buckets that are a
second copy of them; here they are summed with nobody's. Where the weights are shared out, torch's fully_shard puts them
together and takes them apart for each layer; here the other parts come from nobody. So both take the memory of the real
ones, on fake tensors too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from finetune.memory.fake import DEVICE, real
from finetune.train.shards import cut


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


@contextmanager
def meshed(processes: int) -> Iterator[DeviceMesh]:
    """Give the devices that weights are shared out to, of which there is but this one."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    with real():
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=processes)
    try:
        with real():
            mesh = init_device_mesh(DEVICE, (processes,))
        yield mesh
    finally:
        dist.destroy_process_group()


def share_out(trainer: Any, mesh: DeviceMesh) -> None:
    """Leave of a trainer's weights one device's part, to be called before it trains."""
    # transformers' name for a model that it must not wrap for several processes.
    trainer.is_distributed_loading_by_transformers = True
    for model in (trainer.model, getattr(trainer, "ref_model", None)):
        if model is not None:
            cut(model, mesh)


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
