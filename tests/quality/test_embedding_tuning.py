"""A floor for what tuning gains: MiniLM on some of SciFact's training claims, measured by test claims.

Kept short; the whole of it is `python -m tests.benchmarks.bench_embedding_tuning` (finetune/README.md has the figures).
"""

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.config import Hyperparameters, Tuning, settle
from finetune.encoder.embedding import NDCG, NDCG_BEFORE
from finetune.job import TuningJob
from finetune.model import Base
from finetune.run import tune
from rag.encoders.embed_source import find_folder
from rag.evaluate.collection import Collection, load_beir
from tests.quality.dense import save_questions

pytestmark = [pytest.mark.quality, pytest.mark.timeout(1800)]

TRAINED_ON, MEASURED_BY = 150, 60
CHARACTERS = 200
"""What is kept of an abstract, for the time's sake."""


def shortened(collection: Collection) -> Collection:
    return replace(collection, texts=[text[:CHARACTERS] for text in collection.texts])


def test_some_claims_make_others_rank_better(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "retrieval/scifact"
    train = shortened(load_beir(folder, queries="queries_train.jsonl", split="train"))
    test = shortened(load_beir(folder, queries="queries_test.jsonl"))
    asked = Tuning(method="embedding", hyperparameters=Hyperparameters(n_epochs=2), learning_rate=2e-4, seed=1)
    job = TuningJob(
        base=Base(source=str(find_folder("all-MiniLM-L6-v2", download=False))),
        settings=settle(asked, examples=TRAINED_ON, longest_input=256),
        training_file=save_questions(train, tmp_path / "train.jsonl", count=TRAINED_ON, near=1),
        validation_file=save_questions(test, tmp_path / "valid.jsonl", count=MEASURED_BY, near=3),
        folder=tmp_path / "job",
        device="cpu",
        name="ft:all-MiniLM-L6-v2:default::test",
    )
    outcome = tune(job, lambda _event: None, lambda: None)
    assert outcome.manifest is not None
    before, after = (outcome.manifest.metrics[name] for name in (NDCG_BEFORE, NDCG))
    print(f"SciFact test claims, nDCG@10 {before:.4f} -> {after:.4f}")
    assert after >= before + 0.03
