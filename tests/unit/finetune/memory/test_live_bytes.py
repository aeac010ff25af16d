import pytest
import torch

from finetune.memory.live_bytes import LiveBytes

FLOAT = 4


@pytest.fixture
def memory() -> LiveBytes:
    return LiveBytes("cpu")


def test_a_tensor_counts_from_its_making_until_python_lets_go_of_it(memory: LiveBytes) -> None:
    with memory:
        tensor = torch.zeros(10)
        held = memory.total
        del tensor
    assert (held, memory.total, memory.peak) == (10 * FLOAT, 0, 10 * FLOAT)


def test_a_view_counts_once_and_keeps_the_whole(memory: LiveBytes) -> None:
    with memory:
        row = torch.zeros(5, 2)[0]
    assert row.numel() == 2
    assert memory.total == 10 * FLOAT


def test_what_autograd_keeps_counts_until_the_backward_pass(memory: LiveBytes) -> None:
    weight = torch.ones(10, requires_grad=True)
    with memory:
        loss = weight.exp().sum()
        kept = memory.total
        loss.backward()
    assert kept == 10 * FLOAT + FLOAT
    # The loss, its gradient's 1 that is gone, and the gradient.
    assert memory.total == FLOAT + 10 * FLOAT


def test_several_results_of_an_operation_count_each(memory: LiveBytes) -> None:
    with memory:
        found = torch.ones(10).topk(3)
    assert memory.total == found.values.nbytes + found.indices.nbytes


def test_the_peak_is_told_in_parts(memory: LiveBytes) -> None:
    with memory:
        weight = torch.zeros(10)
        memory.name("weights", [weight])
        activation = weight + 1
        del activation
    assert memory.parts == {"weights": 10 * FLOAT, "activations": 10 * FLOAT}


def test_a_forgotten_peak_begins_at_what_is_live(memory: LiveBytes) -> None:
    with memory:
        kept = torch.zeros(10)
        torch.zeros(1000)
        memory.restart()
    assert kept.numel() == 10
    assert memory.peak == 10 * FLOAT


def test_memory_comes_in_whole_blocks() -> None:
    with LiveBytes("cpu", block_bytes=512) as memory:
        tensor = torch.zeros(129)
    assert tensor.nbytes == 516
    assert memory.total == 1024


def test_another_device_is_not_counted(memory: LiveBytes) -> None:
    with memory:
        torch.zeros(10, device="meta")
    assert memory.peak == 0


def test_memory_that_is_given_and_taken_without_an_operation_counts(memory: LiveBytes) -> None:
    with memory:
        tensor = torch.zeros(10)
        tensor.untyped_storage().resize_(0)
        freed = memory.total
        tensor.untyped_storage().resize_(80)
        given = memory.total
    assert (freed, given, memory.peak) == (0, 80, 80)
