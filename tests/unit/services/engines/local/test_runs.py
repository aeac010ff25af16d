from collections.abc import Sequence

import pytest
import torch

from services.engines.local.runs import FEW, Run, Span, runs_of
from services.engines.local.stacks import Adapter, Stacks

IN, OUT, RANK, SCALING = 12, 8, 2, 0.5


def adapters(count: int, dtype: torch.dtype = torch.float32) -> list[Adapter]:
    stacks = Stacks()
    pair = (torch.randn(count, RANK, IN, dtype=dtype), torch.randn(count, RANK, OUT, dtype=dtype))
    return [stacks.add(SCALING, {"layer": (first, second)}) for first, second in zip(*pair, strict=True)]


def spans(of: Sequence[tuple[Adapter | None, int]]) -> list[Span]:
    return [Span(adapter=adapter, tokens=tokens) for adapter, tokens in of]


def changed(given: torch.Tensor, before: torch.Tensor, runs: Sequence[Run]) -> torch.Tensor:
    module, after = torch.nn.Linear(IN, OUT), before.clone()
    for run in runs:
        run.change("layer", module, given, after)
    return after


def expected(given: torch.Tensor, before: torch.Tensor, spans: Sequence[Span]) -> torch.Tensor:
    """What each token comes to by itself."""
    every = [span.adapter for span in spans for _ in range(span.tokens)]
    rows = before.clone()
    for row, adapter in enumerate(every):
        if adapter is not None:
            layer, seat = adapter.stack.layers["layer"], adapter.stack.seat(adapter)
            part = layer.second[seat].T @ (layer.first[seat] @ given[row].to(layer.first.dtype)) * SCALING
            rows[row] += part.to(before.dtype)
    return rows


@pytest.mark.parametrize(
    "counts",
    [
        [2] * 11,
        [3, 1, 2, 2, 4, 1, 2, 1, 1, 2, 1],
        [1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1],
        [1, 3, 0, 2, 0, 1, 2, 0, 0, 5, 1],
        [40, 1, 1, 40, 40, 0, 7, 1, 2, 3, 1],
        [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_token_is_changed_by_its_own_adapter_alone(counts: list[int], dtype: torch.dtype) -> None:
    some = spans([(None, 3), *zip(adapters(11), counts, strict=True), (None, 2)])
    tokens = sum(span.tokens for span in some)
    given, before = torch.randn(tokens, IN, dtype=dtype), torch.randn(tokens, OUT, dtype=dtype)

    # Sums in another order may be rounded to the next number of the type.
    error = {torch.float32: 1e-5, torch.bfloat16: 2**-6}[dtype]
    after = changed(given, before, runs_of(some, "cpu"))
    torch.testing.assert_close(after, expected(given, before, some), rtol=error, atol=error)
    assert torch.equal(after[:3], before[:3]) and torch.equal(after[-2:], before[-2:])


def test_tokens_between_those_of_neighbours_are_left_alone() -> None:
    first, second = adapters(2)
    some = spans([(first, 1), (None, 2), (second, 1)])
    given, before = torch.randn(4, IN), torch.randn(4, OUT)

    torch.testing.assert_close(changed(given, before, runs_of(some, "cpu")), expected(given, before, some))


def test_adapters_in_bfloat16_change_a_batch_in_bfloat16() -> None:
    some = spans([(adapter, 2) for adapter in adapters(4, torch.bfloat16)])
    given, before = torch.randn(8, IN, dtype=torch.bfloat16), torch.randn(8, OUT, dtype=torch.bfloat16)

    after = changed(given, before, runs_of(some, "cpu"))
    torch.testing.assert_close(after, expected(given, before, some), rtol=2**-5, atol=2**-5)


def test_a_layer_that_an_adapter_leaves_alone_is_unchanged() -> None:
    given, before = torch.randn(1, IN), torch.randn(1, OUT)
    [run] = runs_of(spans([(adapters(1)[0], 1)]), "cpu")
    after = before.clone()
    run.change("another", torch.nn.Linear(IN, OUT), given, after)

    assert torch.equal(after, before)


@pytest.mark.parametrize(
    ("counts", "products"),
    [
        ([2] * 8, 1),
        ([1, 0, 1, 0, 1, 0, 1, 0], 1),
        ([1, 1, 0, 0, 1, 0, 1, 0], 2),
        ([1, 1, 2, 2, 2, 1, 1, 1], 3),
        ([3, 1, 2, 2, 4, 1, 2, 1], 1),
        ([1, 2, 1, FEW, 1, 2, 1, 1], 7),
        ([64] * 4 + [1] * 4, 2),
        ([64, 40, 0, 0, 0, 0, 0, 9], 3),
    ],
)
def test_as_few_products_are_made_as_can_be(counts: list[int], products: int) -> None:
    some = spans(list(zip(adapters(8), counts, strict=True)))
    assert len(runs_of(some, "cpu")) == products


def test_tokens_are_at_most_doubled_to_be_multiplied_at_once() -> None:
    for counts in torch.randint(1, 2 * FEW, (200, 8), generator=torch.Generator().manual_seed(0)).tolist():
        some = spans(list(zip(adapters(8), counts, strict=True)))
        multiplied = sum(
            run.tokens.stop - run.tokens.start if run.filled is None else len(run.filled.taken)
            for run in runs_of(some, "cpu")
        )
        assert multiplied <= 2 * sum(counts)
