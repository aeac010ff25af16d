"""Counts the bytes of every tensor that lives, real or fake, and remembers the moment when there were most.

Each result of an operation is looked at: a storage that is new is counted until Python lets go of it, so views are
counted once and what autograd keeps for the backward pass is counted as long as it is kept.
"""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from finetune.plan import ACTIVATIONS

CUDA_BLOCK_BYTES = 512
"""CUDA's caching allocator gives memory in multiples of this."""


class LiveBytes(TorchDispatchMode):  # type: ignore[misc]  # torch is not typed here
    """The memory of one device. `block_bytes` is what its allocator rounds up to.

    `peak` is the most bytes there were since `restart`, `parts` what they were made of: activations, where no other
    name was given.
    """

    def __init__(self, device_type: str, *, block_bytes: int = 1) -> None:
        super().__init__()
        self.peak = 0
        self.parts: Mapping[str, int] = {}
        self._device_type, self._block_bytes = device_type, block_bytes
        self._now: Counter[str] = Counter()
        self._live: dict[int, _Storage] = {}
        self._new = ACTIVATIONS

    @property
    def total(self) -> int:
        """The bytes that are live now."""
        return self._now.total()

    def restart(self) -> None:
        """Forget the peak."""
        self.peak, self.parts = self.total, dict(self._now)

    def name(self, part: str, tensors: Iterable[Any]) -> None:
        """Count the storages of these tensors as this part from now on."""
        for tensor in tensors:
            storage = self._count(tensor)
            if storage is not None:
                self._now[storage.part] -= storage.size
                self._now[part] += storage.size
                storage.part = part

    @contextmanager
    def naming(self, part: str) -> Iterator[None]:
        """Count what comes to be within as this part."""
        before, self._new = self._new, part
        try:
            yield
        finally:
            self._new = before

    def part_of(self, tensor: Any) -> str | None:
        """Give the part that a tensor is counted as, None where it is not."""
        storage = self._live.get(tensor.untyped_storage()._cdata)
        return storage.part if storage is not None else None

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run an operation."""
        return func(*args, **kwargs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            # It comes again with the part that is here.
            return NotImplemented
        result = self.run(func, args, kwargs or {})
        for item in result if isinstance(result, tuple | list) else (result,):
            for tensor in item if isinstance(item, tuple | list) else (item,):
                if isinstance(tensor, torch.Tensor):
                    self._count(tensor)
        return result

    def __enter__(self) -> Any:
        self._resizing = torch.UntypedStorage.resize_
        resize, resized = self._resizing, self._resized

        def resize_(storage: Any, size: int) -> Any:
            result = resize(storage, size)
            resized(storage)
            return result

        torch.UntypedStorage.resize_ = resize_
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        torch.UntypedStorage.resize_ = self._resizing
        super().__exit__(*raised)

    def _resized(self, storage: Any) -> None:
        """FSDP gives and takes a weight's memory without an operation."""
        known = self._live.get(storage._cdata)
        if known is None:
            return
        size = self._size(storage)
        self._now[known.part] += size - known.size
        known.size = size
        if self.total > self.peak:
            self.restart()

    def _size(self, storage: Any) -> int:
        blocks: int = -(-storage.nbytes() // self._block_bytes)
        return blocks * self._block_bytes

    def _count(self, tensor: Any) -> "_Storage | None":
        if isinstance(tensor, DTensor):
            tensor = tensor._local_tensor
        # A fake tensor's own word for its device is read without asking the dispatcher.
        device = getattr(tensor, "fake_device", None) or tensor.device
        if device.type != self._device_type:
            return None
        storage = tensor.untyped_storage()
        known = self._live.get(storage._cdata)
        return known if known is not None else self._add(storage)

    def _add(self, storage: Any) -> "_Storage":
        key = storage._cdata

        def gone(_: object) -> None:
            freed = self._live.pop(key)
            self._now[freed.part] -= freed.size

        added = _Storage(self._size(storage), weakref.ref(storage, gone), self._new)
        self._live[key] = added
        self._now[added.part] += added.size
        if self.total > self.peak:
            self.restart()
        return added


class _Storage:
    __slots__ = ("part", "reference", "size")

    def __init__(self, size: int, reference: Any, part: str) -> None:
        self.size, self.reference, self.part = size, reference, part
