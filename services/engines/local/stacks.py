"""Adapters in memory: those that are alike lie in stacks, so that one product can be made with several of them.

A stack holds nothing but its adapters' weights. It grows by one and shrinks by one, layer by layer, so that no more
than a layer is there twice meanwhile: an adapter alone takes its own memory, and leaves none behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import torch

MOST_TOGETHER: Final = 8
"""Adapters in a stack: with more, products are hardly faster, and whoever joins has more weights to wait for."""

Pair: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""A [rank, in] and B [rank, out], which is what PEFT keeps as [out, rank]: so few tokens take the least time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Adapter:
    """An adapter in memory, for as long as somebody holds it. `number` is never given twice."""

    number: int
    stack: "Stack"
    size_bytes: int

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands among others: those of a stack together, and there as they lie."""
        return self.stack.number, self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What adapters of these numbers change of a layer: A [adapters, rank, in] and B [adapters, rank, out]."""

    numbers: tuple[int, ...]
    first: "torch.Tensor"
    second: "torch.Tensor"

    def only(self, numbers: tuple[int, ...]) -> "Layer":
        import torch

        rows = torch.tensor([self.numbers.index(number) for number in numbers], device=self.first.device)
        return Layer(numbers=numbers, first=self.first.index_select(0, rows), second=self.second.index_select(0, rows))

    def and_also(self, other: "Layer") -> "Layer":
        import torch

        return Layer(
            numbers=self.numbers + other.numbers,
            first=torch.cat([self.first, other.first]),
            second=torch.cat([self.second, other.second]),
        )


class Stack:
    """Adapters of one scaling, and of one rank and type in the same layers, lowest number first.

    Only `tidy` and `add` move weights, so neither is to be called while products are made with them.
    """

    def __init__(self, number: int, scaling: float) -> None:
        self.number = number
        self.scaling = scaling
        self.layers: dict[str, Layer] = {}
        self._numbers: tuple[int, ...] = ()
        self._members: WeakValueDictionary[int, Adapter] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._members)

    def seat(self, adapter: Adapter) -> int:
        """Give the place of an adapter's weights in each layer."""
        return self._numbers.index(adapter.number)

    def add(self, number: int, pairs: Mapping[str, Pair]) -> Adapter:
        """Take in an adapter of a higher number than any before."""
        self.tidy()
        known = self._numbers
        # Should there be no memory halfway, `tidy` finds out by this that layers differ.
        self._numbers = ()
        for name, (first, second) in pairs.items():
            new = Layer(numbers=(number,), first=first[None], second=second[None])
            self.layers[name] = self.layers[name].and_also(new) if known else new
        size_bytes = sum(part.nbytes for pair in pairs.values() for part in pair)
        adapter = self._members[number] = Adapter(number=number, stack=self, size_bytes=size_bytes)
        self._numbers = (*known, number)
        return adapter

    def tidy(self) -> None:
        """Let go of the weights of adapters that nobody holds any more."""
        held = tuple(sorted(self._members.keys()))
        if held == self._numbers:
            return
        self._numbers = ()
        for name, layer in self.layers.items():
            if layer.numbers != held:
                self.layers[name] = layer.only(held)
        self._numbers = held


class Stacks:
    """All stacks over a base, which come and go with those who are in them."""

    def __init__(self) -> None:
        self._alike: dict[object, list[Stack]] = {}
        self._adapters = 0
        self._stacks = 0

    def add(self, scaling: float, pairs: Mapping[str, Pair]) -> Adapter:
        self.tidy()
        parts = ((name, *pair) for name, pair in pairs.items())
        kind = scaling, frozenset((name, len(first), first.dtype, second.dtype) for name, first, second in parts)
        stacks = self._alike.setdefault(kind, [])
        stack = next((stack for stack in stacks if len(stack) < MOST_TOGETHER), None)
        if stack is None:
            self._stacks += 1
            stack = Stack(self._stacks, scaling)
            stacks.append(stack)
        self._adapters += 1
        return stack.add(self._adapters, pairs)

    def tidy(self) -> None:
        """Let go of what nobody holds any more. Not to be called while products are made."""
        for kind, stacks in list(self._alike.items()):
            stacks[:] = [stack for stack in stacks if len(stack)]
            for stack in stacks:
                stack.tidy()
            if not stacks:
                del self._alike[kind]
