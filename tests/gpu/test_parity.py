"""A model tuned on a GPU: whether serving is what was trained, and so is its export."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.config import Lora, Tuning, settle
from finetune.export.write import export_merged
from finetune.job import TuningJob
from finetune.model import Base
from finetune.parity.trace import TRACES
from finetune.run import tune
from services.parity import prove
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuned_models import put_tuned_model
from services.wiring import Services
from tests.fakes.tiny_model import tiny_model

MODEL = "ft:small:default::1"


def told(line: int) -> str:
    said = [{"role": "user", "content": f"What is {line} and two?"}, {"role": "assistant", "content": f"{line + 2}."}]
    return json.dumps({"messages": said}) + "\n"


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_serving_and_export_are_what_was_trained(services: Services, tmp_path: Path, quantization: Any) -> None:
    training_file = tmp_path / "training.jsonl"
    training_file.write_text("".join(map(told, range(32))))
    base = tiny_model(tmp_path / "base", layers=8, hidden=1024, dtype="bfloat16")
    job = TuningJob(
        base=Base(source=str(base)),
        settings=settle(
            Tuning(quantization=quantization, lora=Lora(dropout=0.1), seed=1), examples=32, longest_input=512
        ),
        training_file=training_file,
        folder=tmp_path / "job",
        device="cuda:0",
        name=MODEL,
    )
    outcome = tune(job, lambda _event: None, lambda: None)
    assert outcome.folder is not None
    assert outcome.manifest is not None
    with services.database.write() as session:
        put_tuned_model(
            session, DEFAULT_PROJECT, MODEL, parent="small", folder=outcome.folder, manifest=outcome.manifest
        )
    parity = prove(services, DEFAULT_PROJECT, MODEL, job.folder / TRACES)
    assert parity.passed, parity.sentence()

    merged = tmp_path / "merged"
    exported = export_merged(
        outcome.folder, merged, name=MODEL, traces=job.folder / TRACES, told=lambda _stage, _share: None
    )
    assert exported.fidelity is not None
    assert exported.fidelity.kl_per_token < 1e-2
