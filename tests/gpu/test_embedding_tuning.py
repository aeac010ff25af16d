"""An embedder tuned on a GPU, its products in bfloat16."""

from pathlib import Path

from finetune.config import Hyperparameters, Tuning, settle
from finetune.encoder.embedding import NDCG, NDCG_BEFORE
from finetune.job import TuningJob
from finetune.model import Base
from finetune.run import tune
from tests.fakes.ciphers import save_ciphers
from tests.fakes.tiny_encoder import save_tiny_encoder


def test_held_out_queries_are_ranked_better_than_before(tmp_path: Path) -> None:
    asked = Tuning(method="embedding", hyperparameters=Hyperparameters(n_epochs=4), learning_rate=3e-3, seed=7)
    job = TuningJob(
        base=Base(source=str(save_tiny_encoder(tmp_path / "tiny"))),
        settings=settle(asked, examples=200, longest_input=16),
        training_file=save_ciphers(tmp_path / "train.jsonl", 200),
        folder=tmp_path / "job",
        device="cuda:0",
        name="ft:tiny:default::1",
    )
    outcome = tune(job, lambda _event: None, lambda: None)
    assert outcome.manifest is not None
    assert outcome.manifest.metrics[NDCG] > outcome.manifest.metrics[NDCG_BEFORE] + 0.2
