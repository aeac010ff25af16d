"""What a plan says that a training takes, held against what torch allocates when a job is really run."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.config import Hyperparameters, Lora, Settings, Tuning, settle
from finetune.data.packing import packed_rows
from finetune.job import TuningJob
from finetune.memory.measure import Training, measured
from finetune.memory.planner import config_of
from finetune.model import Base
from finetune.plan import Plan
from tests.fakes.allocations import peak_of
from tests.fakes.tiny_model import tiny_model
from tests.fakes.tuning_jobs import plan_of

MB = 1e6
LEAST = 100 * MB
UNDER, OVER = 0.01, 0.05
"""How far a simulation may be below what is measured, and above it: it takes each batch to be the fullest there is."""

EXAMPLES = 2
QUESTION = {"role": "user", "content": "what is two and two, and what is it that is never five? " * 6}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "wide", hidden=768, layers=3)


def answer(repeats: int) -> dict[str, str]:
    return {"role": "assistant", "content": "it is four, and the answer is never five. " * repeats}


def supervised() -> Iterator[dict[str, Any]]:
    for index in range(EXAMPLES):
        yield {"messages": [QUESTION, answer(4 + index)]}


def preferences() -> Iterator[dict[str, Any]]:
    for index in range(EXAMPLES):
        yield {
            "input": {"messages": [QUESTION]},
            "preferred_output": [answer(3 + index)],
            "non_preferred_output": [answer(6 - index)],
        }


def answers() -> Iterator[dict[str, Any]]:
    for index in range(EXAMPLES):
        yield {"prompt": [QUESTION], "completion": [answer(4 + index)], "label": index % 2 == 0}


ROWS = {"supervised": supervised, "dpo": preferences, "reward": preferences, "kto": answers}


def settings_of(**asked: Any) -> Settings:
    tuning = Tuning(seed=1, hyperparameters=Hyperparameters(n_epochs=2, batch_size=EXAMPLES), **asked)
    return settle(tuning, examples=EXAMPLES, longest_input=512)


def draft(*, micro_batch: int, accumulation: int, checkpointing: bool) -> Plan:
    return plan_of(micro_batch, accumulation, gradient_checkpointing=checkpointing, steps=1)


class Run:
    """A job that is begun in its own folder, with a plan."""

    def __init__(self, model: Path, folder: Path, settings: Settings, plan: Plan, *, validated: bool = False) -> None:
        from finetune.data.tokens import length_of
        from finetune.train.material import gather
        from finetune.train.session import Session

        folder.mkdir(exist_ok=True, parents=True)
        file = folder / "train.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[settings.method]()))
        job = TuningJob(
            base=Base(source=str(model)),
            settings=settings,
            training_file=file,
            validation_file=file if validated else None,
            folder=folder / "job",
            device="cpu",
            plan=plan,
            name="ft:wide",
        )
        material = gather(job)
        self.session = Session(job, material, lambda event: None, lambda: None)
        longest = max(map(length_of, material.rows))
        self.planned = measured(Training(config=config_of(job.base), settings=settings), replace(plan, longest=longest))

    def peak_of(self, work: Callable[[], object]) -> int:
        return peak_of(self.session.trainer, work)


def assert_near(name: str, simulated: int, real: int) -> None:
    error = simulated / real - 1
    print(f"{name}: {simulated / MB:,.1f} MB simulated, {real / MB:,.1f} MB measured, {error:+.2%}")
    assert real >= LEAST
    assert -UNDER <= error <= OVER


# trl 1.16 asks for this by the name that transformers 5.23 has put out of use (disable_gradient_checkpointing).
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_:FutureWarning")
@pytest.mark.parametrize(
    ("name", "asked", "micro_batch", "accumulation", "checkpointing"),
    [
        ("supervised, nf4 and lora, checkpointing", {"lora": Lora(r=64)}, 2, 1, True),
        ("supervised, lora", {"lora": Lora(r=16, dropout=0.1), "quantization": "none"}, 2, 1, False),
        ("supervised, full, in passes", {"lora": None, "quantization": "none"}, 1, 2, True),
        ("supervised, nf4 and lora, packed", {"lora": Lora(r=64), "packing": True, "max_length": 512}, 1, 1, False),
        ("preferences, nf4 and lora", {"lora": Lora(r=64), "method": "dpo"}, 2, 1, True),
        ("answers, nf4 and lora", {"lora": Lora(r=64), "method": "kto"}, 2, 1, True),
        ("scores, lora", {"lora": Lora(r=64), "quantization": "none", "method": "reward"}, 2, 1, False),
        ("preferences, full", {"lora": None, "quantization": "none", "method": "dpo"}, 2, 1, False),
    ],
)
def test_simulated_peak_of_a_job_is_the_measured_one(
    model: Path,
    tmp_path: Path,
    name: str,
    asked: dict[str, Any],
    micro_batch: int,
    accumulation: int,
    checkpointing: bool,
) -> None:
    settings = settings_of(**asked)
    plan = draft(micro_batch=micro_batch, accumulation=accumulation, checkpointing=checkpointing)
    run = Run(model, tmp_path, settings, plan)
    assert_near(name, run.planned.peaks.step, run.peak_of(run.session.train))


def test_simulated_peaks_of_an_evaluation_and_of_saving_are_the_measured_ones(model: Path, tmp_path: Path) -> None:
    settings = settings_of(lora=None, quantization="none")
    run = Run(model, tmp_path, settings, draft(micro_batch=2, accumulation=1, checkpointing=False), validated=True)
    trainer, peaks = run.session.trainer, run.planned.peaks
    run.session.train()
    assert_near("an evaluation", peaks.evaluation, run.peak_of(trainer.evaluate))
    # What was saved once is not saved again in the same folder.
    trainer.checkpoints = tmp_path / "again"
    assert_near("saving", peaks.saving, run.peak_of(lambda: trainer._save_checkpoint(trainer.model, None)))


class Rehearsed(Exception):
    """The rehearsal is over: the first step begins."""


@pytest.mark.parametrize(("micro_batch", "accumulation"), [(2, 1), (1, 2)], ids=["at once", "in passes"])
def test_the_rehearsal_takes_as_much_as_the_worst_step(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_batch: int, accumulation: int
) -> None:
    settings = settings_of(lora=None, quantization="none")
    plan = draft(micro_batch=micro_batch, accumulation=accumulation, checkpointing=True)
    rehearsed, plain = (Run(model, tmp_path / name, settings, plan) for name in ("rehearsed", "plain"))

    def rehearse() -> None:
        with monkeypatch.context() as patched, pytest.raises(Rehearsed):
            patched.setattr("transformers.Trainer.get_batch_samples", raise_(Rehearsed()))
            rehearsed.session.train()

    peak = rehearsed.peak_of(rehearse)
    monkeypatch.setattr("finetune.train.trainer.JobTrainer.rehearse", lambda *_: None)
    assert_near("a rehearsed step", peak, plain.peak_of(plain.session.train))


def raise_(exception: Exception) -> Callable[..., None]:
    def raising(*_: Any, **__: Any) -> None:
        raise exception

    return raising


def test_rows_are_packed_as_trl_packs_them() -> None:
    from datasets import Dataset
    from trl import pack_dataset

    lengths = [7, 3, 9, 2, 2, 8, 1, 5, 5, 4, 10, 6]
    rows = pack_dataset(Dataset.from_dict({"input_ids": [[0] * length for length in lengths]}), 10, strategy="bfd")
    assert sorted(packed_rows(lengths, limit=10)) == sorted(len(row) for row in rows["input_ids"])
