"""Which products change the tokens of a pass: as few as can be, of several adapters at once where they lie together.

Measured on two cores, a product of eight adapters at once (`bmm`) takes half the time of eight products with up to 16
tokens each in float32, a third to a quarter in bfloat16, and as long with 64.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from services.engines.local.stacks import Adapter, Stack

if TYPE_CHECKING:
    import torch

FEW: Final = 8
"""Tokens of an adapter that may be filled up, to as many as its neighbours have."""

PIECES: Final = 3
"""With more stretches of adapters that have as many tokens each, filling up takes less time than a product for each.

That holds while the tokens at most double.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """So many of the tokens of a pass, behind those of the span before, and the adapter that changes them, if any."""

    tokens: int
    adapter: Adapter | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seated:
    """Tokens that begin at `start` in a pass, and the place in its stack of the adapter that changes them."""

    stack: Stack
    seat: int
    start: int
    tokens: int

    def goes_on_from(self, others: Sequence["_Seated"]) -> bool:
        """Say if it can be in a product with others: in their stack, as far on as they are from one another."""
        last = others[-1]
        return (
            self.stack is last.stack
            and self.start == last.start + last.tokens
            and (len(others) == 1 or self.seat - last.seat == last.seat - others[-2].seat)
            and (self.tokens == last.tokens or max(self.tokens, last.tokens) <= FEW)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filled:
    """Which tokens of a run are multiplied, some of them again and again, and which of the products count."""

    taken: "torch.Tensor"
    counted: "torch.Tensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Neighbouring tokens of a pass, `each` so many for each seat of a stack; of one seat, that is a number."""

    stack: Stack
    seats: slice | int
    tokens: slice
    each: int
    filled: _Filled | None

    def change(self, name: str, module: Any, given: "torch.Tensor", changed: "torch.Tensor") -> None:
        """Add in place to what a layer gave [tokens, out] for what it was given [tokens, in], rounded as by PEFT."""
        layer = self.stack.layers.get(name)
        if layer is None:
            return
        first, second = layer.first[self.seats].mT, layer.second[self.seats]
        taken, part, scaling = given[self.tokens], changed[self.tokens], self.stack.scaling
        if self.filled is not None:
            taken = taken.index_select(0, self.filled.taken)
        if first.ndim == 3:
            taken = taken.view(-1, self.each, taken.shape[-1])
        if self.filled is None and given.dtype == changed.dtype == first.dtype:
            if first.ndim == 3:
                part.view(-1, self.each, part.shape[-1]).baddbmm_(taken.bmm(first), second, alpha=scaling)
            else:
                part.addmm_(taken.mm(first), second, alpha=scaling)
            return
        found = (taken.to(first.dtype) @ first @ second).view(-1, part.shape[-1])
        if self.filled is not None:
            found = found.index_select(0, self.filled.counted)
        found = found.mul_(scaling)
        # Over quantized weights PEFT rounds the change before it is added, otherwise only the sum.
        part.add_(found.to(part.dtype) if hasattr(module.weight, "quant_state") else found)


def runs_of(spans: Iterable[Span], device: Any) -> list[Run]:
    """Give the products for a pass, whose spans stand in the order of their adapters."""
    return [run for neighbours in _neighbours(_seated(spans)) for run in _runs(neighbours, device)]


def _seated(spans: Iterable[Span]) -> Iterator[_Seated]:
    start = 0
    for span in spans:
        if span.adapter is not None and span.tokens:
            stack = span.adapter.stack
            yield _Seated(stack=stack, seat=stack.seat(span.adapter), start=start, tokens=span.tokens)
        start += span.tokens


def _neighbours(seated: Iterable[_Seated]) -> Iterator[list[_Seated]]:
    found: list[_Seated] = []
    for one in seated:
        if found and not one.goes_on_from(found):
            yield found
            found = []
        found.append(one)
    if found:
        yield found


def _runs(neighbours: Sequence[_Seated], device: Any) -> Iterator[Run]:
    stretches = [list(group) for _, group in groupby(neighbours, key=lambda one: one.tokens)]
    counts = [one.tokens for one in neighbours]
    if len(stretches) > PIECES and max(counts) * len(counts) <= 2 * sum(counts):
        yield _run(neighbours, _filled(counts, device))
        return
    for stretch in stretches:
        yield _run(stretch, None)


def _run(seated: Sequence[_Seated], filled: _Filled | None) -> Run:
    first, last = seated[0], seated[-1]
    step = seated[1].seat - first.seat if len(seated) > 1 else 1
    return Run(
        stack=first.stack,
        seats=first.seat if len(seated) == 1 else slice(first.seat, last.seat + 1, step),
        tokens=slice(first.start, last.start + last.tokens),
        each=max(one.tokens for one in seated),
        filled=filled,
    )


def _filled(counts: Sequence[int], device: Any) -> _Filled:
    import torch

    most, taken, counted, start = max(counts), list[int](), list[int](), 0
    for place, count in enumerate(counts):
        taken += [start + min(token, count - 1) for token in range(most)]
        counted += range(place * most, place * most + count)
        start += count
    return _Filled(taken=torch.tensor(taken, device=device), counted=torch.tensor(counted, device=device))
