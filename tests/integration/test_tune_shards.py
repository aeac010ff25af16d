"""Two processes that each hold a part of the weights train what one would that holds all of them.

Here on the CPU over gloo, NF4 as well; on GPUs the same path runs over NCCL.
"""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from finetune.adapter import Manifest
from finetune.job import CHECKPOINTS, TuningJob
from finetune.parity.trace import TRACES, read_traces
from finetune.processes.wire import JOB
from finetune.run import tune
from finetune.train import result
from finetune.train.checkpoints import newest, step_of
from tests.fakes.ranked_training import RECORD
from tests.fakes.tiny_model import tiny_model
from tests.fakes.tuning_jobs import Told, job_of, plan_of, write_chats
from tests.fakes.two_processes import said_by_two

CHATS = {f"what is {number}?": f"it is {'four ' * number}." for number in range(8)}
WAYS: dict[str, dict[str, Any]] = {
    "nf4": {"quantization": "nf4", "lora": {"r": 8}},
    "full": {"quantization": "none", "lora": None},
}
SHORT = ("full",)
"""Over a base of 16 bits, which the result takes again."""

KILLED = "killed"
KILLED_AT, CHECKPOINTED_AT, STEPS = 3, 2, 4

pytestmark = [
    # Four processes begin in its fixtures.
    pytest.mark.timeout(900),
    # trl 1.16 asks for this by the name that transformers 5.23 has put out of use (disable_gradient_checkpointing).
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing_:FutureWarning"),
]


@dataclass(frozen=True)
class Shared:
    """What two processes have trained; `orphaned` is what they left when they were killed."""

    folder: Path
    told: dict[str, Any]
    orphaned: Path

    def job(self, kind: str, name: str, *, sharded: bool = True) -> TuningJob:
        way = WAYS.get(name, WAYS["nf4"])
        file = self.folder / "chats.jsonl"
        plan = plan_of(1, 2, processes=2, sharded=sharded, gradient_checkpointing=name == "full")
        return job_of(
            self.folder / f"{kind}-{name}",
            self.folder / ("short" if name in SHORT else "base"),
            file,
            job={"plan": plan, "validation_file": file if name in WAYS else None},
            learning_rate=5e-3,
            n_epochs=2,
            batch_size=4,
            **way,
        )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.mktemp("shared")
    tiny_model(folder / "base")
    tiny_model(folder / "short", dtype="bfloat16", tie_word_embeddings=True)
    write_chats(folder / "chats.jsonl", CHATS)
    done = Shared(folder, {}, folder / "orphaned")
    described = {name: folder / f"{name}.json" for name in (*WAYS, KILLED)}
    for name, path in described.items():
        path.write_bytes(JOB.dump_json(done.job("shared", name)))
    module = "tests.fakes.ranked_training"
    dying: list[Path | str] = [*(described[name] for name in WAYS), f"{described[KILLED]}@{KILLED_AT}"]
    first, _ = said_by_two(module, dying, folder, killed=True)
    shutil.copytree(done.job("shared", KILLED).folder, done.orphaned)
    second, _ = said_by_two(module, [described[KILLED]], folder)
    done.told.update(zip(described, map(json.loads, [*first.splitlines(), *second.splitlines()]), strict=True))
    return done


@pytest.fixture(scope="module")
def alone(shared: Shared) -> dict[str, Told]:
    """What one process tells of the same trainings."""
    told = {name: Told() for name in WAYS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "record", RECORD)
        for name, each in told.items():
            tune(shared.job("alone", name, sharded=False), each, lambda: None)
    return told


@pytest.mark.parametrize("name", WAYS)
def test_the_curve_is_that_of_one_process(shared: Shared, alone: dict[str, Told], name: str) -> None:
    assert_alike(shared.told[name]["curve"], alone[name], range(1, STEPS + 1))


@pytest.mark.parametrize("name", WAYS)
def test_the_result_is_that_of_one_process(shared: Shared, alone: dict[str, Told], name: str) -> None:
    mine, theirs = (weights_of(shared.job(kind, name).folder / "model") for kind in ("shared", "alone"))
    assert {key: (value.dtype, value.shape) for key, value in mine.items()} == {
        key: (value.dtype, value.shape) for key, value in theirs.items()
    }
    for part in ("adapter_config.json", "config.json"):
        mine_is, theirs_is = (said_in(shared.job(kind, name).folder / "model" / part) for kind in ("shared", "alone"))
        assert mine_is == theirs_is
    for key, value in mine.items():
        assert value.float().numpy() == pytest.approx(theirs[key].float().numpy(), abs=2e-3), key


@pytest.mark.parametrize("name", WAYS)
def test_what_parity_needs_is_recorded_as_by_one_process(shared: Shared, alone: dict[str, Told], name: str) -> None:
    mine, theirs = (read_traces(shared.job(kind, name).folder / TRACES) for kind in ("shared", "alone"))
    assert [(trace.token_ids, trace.dtype, trace.quantization) for trace in mine] == [
        (trace.token_ids, trace.dtype, trace.quantization) for trace in theirs
    ]
    for one, other in zip(mine, theirs, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=0.05 if name in SHORT else 1e-3)
        assert one.untuned_logprobs == other.untuned_logprobs


def test_a_training_goes_on_in_parts_as_if_it_had_not_been_killed(shared: Shared, alone: dict[str, Told]) -> None:
    assert_alike(shared.told[KILLED]["curve"], alone["nf4"], range(CHECKPOINTED_AT + 1, STEPS + 1))
    assert Manifest.read(Path(shared.told[KILLED]["folder"])).steps == STEPS


def test_one_process_goes_on_from_what_two_have_left(
    shared: Shared, alone: dict[str, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "record", RECORD)
    left = newest(shared.orphaned / CHECKPOINTS)
    assert left is not None
    assert step_of(left) == CHECKPOINTED_AT
    going_on = Told()
    tune(replace(shared.job("shared", KILLED), folder=shared.orphaned), going_on, lambda: None)
    assert_alike(going_on.curve, alone["nf4"], range(CHECKPOINTED_AT + 1, STEPS + 1))


def assert_alike(curve: dict[Any, dict[str, float]], alone: Told, steps: range) -> None:
    assert sorted(map(int, curve)) == list(steps)
    for step, values in ((int(step), values) for step, values in curve.items()):
        for name, value in values.items():
            # Of several processes accuracy is the mean of theirs, however many tokens each has learned.
            away = 0.01 if name.endswith("token_accuracy") else 1e-4
            assert value == pytest.approx(alone.curve[step][name], rel=2e-3, abs=away), (step, name)


def weights_of(folder: Path) -> dict[str, Any]:
    return {key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()}


def said_in(config: Path) -> Any:
    """Read a configuration, whose lists PEFT writes in any order."""
    if not config.exists():
        return None
    fields = json.loads(config.read_text())
    return {name: sorted(value) if isinstance(value, list) else value for name, value in fields.items()}
