"""What a trainer really takes of memory, by torch's own account of its allocations."""

from collections.abc import Callable
from typing import Any


class Allocations:
    """What a trainer holds, from now until it is asked for its peak."""

    def __init__(self, trainer: Any) -> None:
        from torch.profiler import ProfilerActivity, profile

        self._before = live_bytes(trainer)
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profile.start()

    def peak(self) -> int:
        """Give the most bytes that there were, the weights among them."""
        self._profile.stop()
        events = [event for event in self._profile.profiler.kineto_results.events() if event.name() == "[memory]"]
        now = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            now += event.nbytes()
            peak = max(peak, now)
        return self._before + peak


def peak_of(trainer: Any, work: Callable[[], object]) -> int:
    """Give the most bytes that there were while the trainer did some work."""
    allocations = Allocations(trainer)
    work()
    return allocations.peak()


def live_bytes(trainer: Any) -> int:
    """Count the storages of the weights, of what the optimizer keeps, and of the gradients' copies in DDP's buckets."""
    from torch.distributed.tensor import DTensor

    models = [model for model in (trainer.model, getattr(trainer, "ref_model", None)) if model is not None]
    tensors = [tensor for model in models for tensor in (*model.parameters(), *model.buffers())]
    for state in (getattr(module, "quant_state", None) for model in models for module in model.modules()):
        if state is not None:
            tensors += [state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code]
    if trainer.optimizer is not None:
        tensors += [value for state in trainer.optimizer.state.values() for value in state.values()]
    reducer = getattr(trainer.model_wrapped, "reducer", None)
    if reducer is not None:
        tensors += [bucket.buffer() for bucket in reducer._get_zeros_like_grad_buckets()]
    tensors = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
