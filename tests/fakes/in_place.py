"""Collectives that take no memory of their own, as those of GPUs do; gloo's copy what they gather and sum."""

from typing import Any

import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter


class _Gather(DefaultAllGather):  # type: ignore[misc]  # torch is not typed here
    def __call__(self, output_tensor: Any, input_tensor: Any, group: Any, async_op: bool = False) -> None:
        for number, place in enumerate(output_tensor.chunk(group.size())):
            if number == group.rank():
                place.copy_(input_tensor)
            dist.broadcast(place, src=number, group=group)


class _Scatter(DefaultReduceScatter):  # type: ignore[misc]  # torch is not typed here
    def __call__(self, output_tensor: Any, input_tensor: Any, group: Any, op: Any, async_op: bool = False) -> None:
        # gloo sums, and knows no mean.
        dist.all_reduce(input_tensor, group=group)
        if op == dist.ReduceOp.AVG:
            input_tensor.div_(group.size())
        output_tensor.copy_(input_tensor.chunk(group.size())[group.rank()])


def collect_in_place(model: Any) -> None:
    """Let what FSDP shares out be collected so."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_custom_all_gather(_Gather())
            module.set_custom_reduce_scatter(_Scatter())
