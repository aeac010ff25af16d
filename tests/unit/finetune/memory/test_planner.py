from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from finetune.config import Hyperparameters, Settings, Tuning, settle
from finetune.errors import TrainingFailed
from finetune.memory import fit as fit_module
from finetune.memory import planner
from finetune.memory.measure import Training
from finetune.memory.planner import plan
from finetune.model import Base
from finetune.plan import Peaks, Plan, needed

GIB = 1 << 30


@dataclass(frozen=True)
class Job:
    settings: Settings
    base: Base = Base(source="any")  # noqa: RUF009  # frozen
    device: str = "cpu"


def job(**asked: Any) -> Job:
    tuning = Tuning(hyperparameters=Hyperparameters(batch_size=4, n_epochs=2), **asked)
    return Job(settle(tuning, examples=10, longest_input=None))


@pytest.fixture(autouse=True)
def drafts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Training, Plan]]:
    """What was to be fitted; it is run in two passes."""
    asked = []

    def fit(training: Training, draft: Plan) -> Plan:
        asked.append((training, draft))
        return replace(draft, micro_batch=2, accumulation=2)

    text = SimpleNamespace(dtype=None)
    monkeypatch.setattr(planner, "config_of", lambda base: SimpleNamespace(get_text_config=lambda: text))
    monkeypatch.setattr(fit_module, "fit", fit)
    return asked


def test_the_longest_sequence_is_planned_for() -> None:
    assert plan(job(), lengths=[10, 70, 30], device_bytes=GIB).longest == 70


def test_a_longer_sequence_is_cut_before_it_is_planned_for() -> None:
    assert plan(job(max_length=64), lengths=[10, 70, 30], device_bytes=GIB).longest == 64


def test_packed_rows_are_planned_for_not_examples() -> None:
    planned = plan(job(packing=True, max_length=100), lengths=[60, 30, 60, 40], device_bytes=GIB)
    # Two rows, of 100 and 90 tokens, are one pass of each of two epochs.
    assert (planned.longest, planned.steps) == (100, 2)


def test_steps_are_counted_as_the_training_counts_them() -> None:
    assert plan(job(), lengths=[8] * 10, device_bytes=GIB).steps == 2 * 3


def test_an_evaluation_is_planned_for_its_own_longest_sequence(drafts: list[tuple[Training, Plan]]) -> None:
    plan(job(max_length=64), lengths=[10], validation_lengths=[20, 99], device_bytes=GIB)
    assert drafts[0][0].evaluated == 64


def test_an_adapter_that_is_gone_on_from_is_no_new_one(drafts: list[tuple[Training, Plan]], tmp_path: Any) -> None:
    plan(replace(job(), base=Base(source="any", adapter=tmp_path)), lengths=[10], device_bytes=GIB)
    assert not drafts[0][0].new_adapter


def test_devices_share_a_step(drafts: list[tuple[Training, Plan]]) -> None:
    planned = plan(job(), lengths=[8] * 10, device_bytes=GIB, processes=2)
    assert (drafts[0][1].micro_batch, drafts[0][1].processes) == (2, 2)
    # Passes of two examples on each of two devices, and two of them a step.
    assert planned.steps == 2 * 2


def test_devices_that_cannot_share_a_step_evenly_are_refused() -> None:
    with pytest.raises(TrainingFailed, match="4 examples cannot be shared out evenly to 3 GPUs"):
        plan(job(), lengths=[8] * 10, device_bytes=GIB, processes=3)


def test_all_gpus_are_planned_for_by_the_fullest(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"cuda:0": 3 * GIB, "cuda:1": 2 * GIB}
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free[device], 4 * GIB))
    planned = plan(replace(job(), device="cuda"), lengths=[8])
    assert (planned.device_bytes, planned.processes) == (2 * GIB, 2)


def test_free_memory_is_what_is_planned_for_unless_told() -> None:
    assert plan(job(), lengths=[10]).device_bytes > 0


def test_what_must_be_free_is_the_highest_peak_and_some_to_spare() -> None:
    assert needed(Peaks(step=GIB, evaluation=2 * GIB, saving=0)) == int(2.1 * GIB) + GIB
