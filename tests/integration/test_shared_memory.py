"""What a plan says that each of two devices takes, held against what torch allocates in two processes that train."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.config import Lora
from finetune.data.tokens import length_of
from finetune.job import TuningJob
from finetune.memory.measure import Training, measured
from finetune.memory.planner import config_of
from finetune.plan import WEIGHTS, Plan
from finetune.processes.wire import JOB
from finetune.train.material import gather
from tests.fakes.tiny_model import tiny_model
from tests.fakes.tuning_jobs import job_of, plan_of, write_rows
from tests.fakes.two_processes import said_by_two

MB = 1e6
LEAST = 100 * MB
UNDER, OVER = 0.01, 0.05
"""As of one device: a simulation takes each batch to be the fullest there is."""

BATCH = 4
QUESTION = {"role": "user", "content": "what is two and two, and what is it that is never five? " * 6}

WAYS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "nf4 and lora, checkpointing": ((2, 1), {"lora": Lora(r=64), "quantization": "nf4"}),
    "full, in passes": ((1, 2), {"lora": None, "quantization": "none"}),
    "nf4 and lora, shared out, checkpointing": ((2, 1), {"lora": Lora(r=64), "quantization": "nf4"}),
    "full, shared out, in passes": ((1, 2), {"lora": None, "quantization": "none"}),
}
"""The passes of each process, and what is trained."""

HELD = ("step", "evaluation")
"""The moments of weights that are shared out. To save them they go to the CPU, which here is the device itself."""


def chats(path: Path) -> Path:
    answers = ["it is four, and the answer is never five. " * (8 + index % 2) for index in range(BATCH)]
    rows = [{"messages": [QUESTION, {"role": "assistant", "content": answer}]} for answer in answers]
    return write_rows(path, rows)


def planned(job: TuningJob) -> Plan:
    assert job.plan is not None
    longest = max(map(length_of, gather(job).rows))
    return measured(Training(config=config_of(job.base), settings=job.settings), replace(job.plan, longest=longest))


# trl 1.16 asks for this by the name that transformers 5.23 has put out of use (disable_gradient_checkpointing).
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_:FutureWarning")
def test_simulated_peaks_of_each_process_are_the_measured_ones(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "wide", hidden=768, layers=3)
    file = chats(tmp_path / "chats.jsonl")
    jobs, described = [], []
    for name, (passes, recipe) in WAYS.items():
        kept = {"sharded": "shared out" in name, "gradient_checkpointing": "checkpointing" in name}
        plan = plan_of(*passes, processes=2, **kept)
        chosen = {"plan": plan, "validation_file": file}
        jobs.append(job_of(tmp_path / name, base, file, job=chosen, n_epochs=1, batch_size=BATCH, **recipe))
        described.append(tmp_path / f"{name}.json")
        described[-1].write_bytes(JOB.dump_json(jobs[-1]))
    said = said_by_two("tests.fakes.ranked_memory", described, tmp_path)
    ranks = [map(json.loads, text.splitlines()) for text in said]
    weights: list[int] = []
    for name, job, *each in zip(WAYS, jobs, *ranks, strict=True):
        plan = planned(job)
        weights.append(plan.parts[WEIGHTS])
        peaks = plan.peaks
        for number, real in enumerate(each):
            assert real["step"] >= LEAST
            for moment in HELD if plan.sharded else real:
                assert_near(f"{name}, {moment} of process {number}", getattr(peaks, moment), real[moment])
    nf4, full, half_nf4, half_full = weights
    assert (half_nf4 / nf4, half_full / full) == pytest.approx((0.5, 0.5), abs=0.02)


def assert_near(name: str, simulated: int, real: int) -> None:
    error = simulated / real - 1
    print(f"{name}: {simulated / MB:,.1f} MB simulated, {real / MB:,.1f} MB measured, {error:+.2%}")
    assert -UNDER <= error <= OVER
