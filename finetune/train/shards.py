"""A model's weights shared out to the processes that train it: each keeps a part of every one of them (FSDP2).

A layer is whole on a device only while it is computed, forward and backward; what is outside the layers (embeddings,
last norm, head) from the first pass of a step to its end. Gradients and the optimizer's moments are of a process's own
parts. NF4 weights are shared out packed; their scales, a thirty-second of that, are whole on every device.

Checkpoints know nothing of it: weights and moments are put together when they are written and taken apart when they
are read, so that a training may go on with any number of processes, in parts or not.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from bitsandbytes.nn.modules import Linear4bit
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from finetune.train.ranks import processes, rank


def is_shared_out(model: Any) -> bool:
    """Say whether a model is one of which this process holds a part."""
    return isinstance(model, FSDPModule)


def share_out(model: Any, device: str) -> None:
    """Leave of a model that lies whole on the CPU this process's part, on its device.

    `device` is without a number. One layer after the other is moved, so no more than one is ever whole there.
    """
    if not dist.is_initialized():
        from accelerate import PartialState

        PartialState(cpu=device == "cpu")
    cut(model, init_device_mesh(device, (processes(),)))


def cut(model: Any, mesh: DeviceMesh) -> None:
    """Make each layer of a model, and then what is left, a unit of FSDP's."""
    where = torch.device(mesh.device_type, torch.cuda.current_device()) if mesh.device_type == "cuda" else "cpu"
    layers = set(model._no_split_modules or ())
    for module in list(model.modules()):
        if isinstance(module, Linear4bit):
            _bare(module, where)
    for module in list(model.modules()):
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    base.hf_device_map = {"": where}


def _bare(layer: Any, device: torch.device | str) -> None:
    """Leave of an NF4 layer's weight what can be cut: bytes. The layer finds its scales by itself (bitsandbytes)."""
    layer.weight = torch.nn.Parameter(layer.weight.data, requires_grad=False)
    layer.quant_state.to(device)


def whole_weights(model: Any) -> dict[str, Any]:
    """Put together an adapter's weights, or all of a model without one, on the CPU, by the names that the model has.

    To be called in all processes.
    """
    adapted = hasattr(model, "peft_config")
    kept = {name for name, weight in model.named_parameters() if weight.requires_grad or not adapted}
    return {name: _whole(weight) for name, weight in model.state_dict().items() if name in kept}


def whole_moments(optimizer: Any) -> dict[str, Any]:
    """Put together an optimizer's state as if one process had trained alone. To be called in all processes."""
    state = optimizer.state_dict()
    moments = {key: {name: _whole(value) for name, value in kept.items()} for key, kept in state["state"].items()}
    return {**state, "state": moments}


def take_moments(optimizer: Any, whole: Mapping[str, Any]) -> None:
    """Let an optimizer go on from the state that `whole_moments` gave, each process from its part."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments = {
        key: {name: _part(value, weights[key]) for name, value in kept.items()} for key, kept in whole["state"].items()
    }
    optimizer.load_state_dict({**whole, "state": moments})


def _whole(value: Any) -> Any:
    """Put a tensor together; only the first process, which writes, keeps it."""
    if not isinstance(value, DTensor):
        return value
    whole = value.full_tensor()
    return whole.cpu() if rank() == 0 else None


def _part(value: Any, weight: Any) -> Any:
    """Cut what is of a weight's shape as the weight is; counts of steps are left as they are."""
    if not isinstance(weight, DTensor) or value.shape != weight.shape:
        return value
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)


@contextmanager
def led(model: Any) -> Iterator[None]:
    """Let this process, the first, call the model as it likes: the others, which `follow`, do their part each time."""

    def call(*_: object) -> None:
        _tell(model, more=True)

    hook = model.register_forward_pre_hook(call, prepend=True)
    try:
        yield
    finally:
        hook.remove()
    _tell(model, more=False)


def follow(model: Any) -> None:
    """Take part in each of the first process's calls of the model, until it makes no more."""
    token = torch.zeros((1, 1), dtype=torch.long, device=_device(model))
    model.eval()
    with torch.no_grad():
        while _heard(model):
            model(input_ids=token, use_cache=False)


def _tell(model: Any, *, more: bool) -> None:
    dist.broadcast(torch.tensor(more, device=_device(model)), src=0)


def _heard(model: Any) -> bool:
    told = torch.tensor(False, device=_device(model))
    dist.broadcast(told, src=0)
    return bool(told)


def _device(model: Any) -> torch.device:
    return next(model.parameters()).device
