from collections.abc import Sequence
from typing import Any

import pytest
import torch

from services.engines.local.stacks import MOST_TOGETHER, Adapter, Layer, Pair, Stacks

LAYERS = {"q_proj": (12, 8), "down_proj": (20, 12)}


def pairs(
    *, rank: int = 2, names: Sequence[str] = ("q_proj", "down_proj"), dtype: Any = torch.float32
) -> dict[str, Pair]:
    shapes = ((name, *LAYERS[name]) for name in names)
    return {
        name: (torch.randn(rank, taken, dtype=dtype), torch.randn(rank, given, dtype=dtype))
        for name, taken, given in shapes
    }


def kept(adapter: Adapter) -> dict[str, Pair]:
    seat = adapter.stack.seat(adapter)
    return {name: (layer.first[seat], layer.second[seat]) for name, layer in adapter.stack.layers.items()}


def same(some: dict[str, Pair], others: dict[str, Pair]) -> bool:
    return some.keys() == others.keys() and all(
        torch.equal(one, other) for name in some for one, other in zip(some[name], others[name], strict=True)
    )


def taken_bytes(stacks: Stacks) -> int:
    layers = [layer for alike in stacks._alike.values() for stack in alike for layer in stack.layers.values()]
    return sum(part.untyped_storage().nbytes() for layer in layers for part in (layer.first, layer.second))


def test_who_stays_keeps_its_weights_and_who_goes_leaves_no_memory_behind() -> None:
    stacks, held = Stacks(), dict[int, tuple[Adapter, dict[str, Pair]]]()
    draw = torch.Generator().manual_seed(0)
    for step in range(60):
        if len(held) > 5 and step % 3:
            del held[sorted(held)[int(torch.randint(len(held), (), generator=draw))]]
        else:
            own = pairs(rank=2 + step % 2)
            adapter = stacks.add(1.0, {name: (first.clone(), second.clone()) for name, (first, second) in own.items()})
            held[adapter.number] = adapter, own
            del adapter
        stacks.tidy()

        assert all(same(kept(adapter), own) for adapter, own in held.values())
        assert taken_bytes(stacks) == sum(adapter.size_bytes for adapter, _ in held.values())
    held.clear()
    stacks.tidy()
    assert taken_bytes(stacks) == 0


def test_an_adapter_takes_the_bytes_of_its_weights() -> None:
    assert Stacks().add(1.0, pairs(rank=2)).size_bytes == 4 * 2 * (12 + 8 + 20 + 12)


def test_only_so_many_lie_together_and_in_the_order_of_their_places() -> None:
    stacks = Stacks()
    adapters = [stacks.add(1.0, pairs()) for _ in range(MOST_TOGETHER + 2)]

    assert [adapter.stack.seat(adapter) for adapter in adapters] == [*range(MOST_TOGETHER), 0, 1]
    assert sorted(adapters, key=lambda adapter: adapter.order) == adapters


@pytest.mark.parametrize(
    ("scaling", "other"),
    [(2.0, {}), (1.0, {"rank": 3}), (1.0, {"names": ["q_proj"]}), (1.0, {"dtype": torch.bfloat16})],
    ids=["scaling", "rank", "layers", "dtype"],
)
def test_adapters_that_differ_do_not_lie_together(scaling: float, other: Any) -> None:
    stacks = Stacks()
    first, second = stacks.add(1.0, pairs()), stacks.add(scaling, pairs(**other))

    assert first.stack is not second.stack


@pytest.mark.parametrize("failing", ["and_also", "only"])
def test_want_of_memory_halfway_mixes_up_nobody(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stacks, own = Stacks(), [pairs() for _ in range(3)]
    adapters = [stacks.add(1.0, one) for one in own]
    del adapters[0]
    done, real = list[int](), getattr(Layer, failing)

    def once(layer: Layer, other: Any) -> Layer:
        done.append(1)
        if len(done) == 2:
            raise MemoryError
        return real(layer, other)  # type: ignore[no-any-return]

    with monkeypatch.context() as patched:
        patched.setattr(Layer, failing, once)
        with pytest.raises(MemoryError):
            stacks.add(1.0, pairs())
    stacks.tidy()

    assert all(same(kept(adapter), one) for adapter, one in zip(adapters, own[1:], strict=True))
    assert taken_bytes(stacks) == sum(adapter.size_bytes for adapter in adapters)
