"""MiniLM tuned on SciFact's training claims: nDCG@10 of its dense scores over all abstracts, before and after.

Wrong passages are mined from all abstracts, as from a vector store; of the test claims nothing is trained on. Takes
many minutes, so `make bench` leaves it out. Prints JSON; run with `python -m tests.benchmarks.bench_embedding_tuning`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import platformdirs

from finetune.config import Hyperparameters, Tuning, settle
from finetune.encoder import negatives
from finetune.encoder.ground import gather
from finetune.events import Event, Message, Metrics
from finetune.job import TuningJob
from finetune.model import Base
from finetune.run import tune
from rag.encoders.embed import open_embedder
from rag.encoders.embed_source import find_folder
from rag.evaluate.collection import Collection, load_beir
from tests.quality.dense import dense_gains, save_questions

MODEL = "all-MiniLM-L6-v2"
SEED = 1
DATA = Path(__file__).parents[3] / "shared/data/retrieval/scifact"
CACHE = Path(os.environ.get("LOAM_TEST_CACHE") or platformdirs.user_cache_path("loam"))


class Clock:
    """The seconds since it was made, on the wall and of this process's CPU, and how busy the machine was."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"wall_s": round(wall), "cpu_s": round(cpu), "load": round(os.getloadavg()[0], 1)}


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--epochs", type=int, default=2)
    asked.add_argument("--max-length", type=int, default=128)
    asked.add_argument("--learning-rate", type=float, default=None)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(report(Path(folder), asked.parse_args()), indent=2))


def report(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    job = new_job(folder, asked)
    test = load_beir(DATA, queries="queries_test.jsonl")
    untuned = open_embedder(MODEL, cache_dir=CACHE)
    clock = Clock()
    search = negatives.PassageSearch(untuned.embed, test.texts)
    negatives.write(job.folder, list(negatives.mine(gather(job).queries, search, seed=SEED)))
    mining, clock = clock.read(), Clock()
    outcome = tune(job, _tell, lambda: None)
    training = clock.read()
    tuned = open_embedder(str(outcome.folder), cache_dir=folder / "cache")
    before, after = (dense_gains(test, embedder.embed) for embedder in (untuned, tuned))
    trained_on = {place for question in load_train().questions for place in question.relevant}
    unseen = [trained_on.isdisjoint(question.relevant) for question in test.questions]
    return {
        "asked": vars(asked) | {"learning_rate": job.settings.learning_rate, "batch_size": job.settings.batch_size},
        "ndcg_at_10": _gain(before, after),
        "of_claims_none_of_whose_abstracts_is_trained_on": _gain(
            [gain for gain, new in zip(before, unseen, strict=True) if new],
            [gain for gain, new in zip(after, unseen, strict=True) if new],
        ),
        "mining": mining,
        "training_and_measuring": training,
        "metrics": dict(outcome.manifest.metrics) if outcome.manifest else {},
    }


def load_train() -> Collection:
    return load_beir(DATA, queries="queries_train.jsonl", split="train")


def _gain(before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    first, then = mean(before), mean(after)
    return {"claims": len(before), "before": round(first, 4), "after": round(then, 4), "gain": round(then - first, 4)}


def new_job(folder: Path, asked: argparse.Namespace) -> TuningJob:
    """A job whose own before and after are of the test claims, among the abstracts of both files."""
    training = save_questions(load_train(), folder / "train.jsonl")
    validation = save_questions(load_beir(DATA, queries="queries_test.jsonl"), folder / "valid.jsonl")
    wanted = Tuning(
        method="embedding",
        hyperparameters=Hyperparameters(n_epochs=asked.epochs),
        learning_rate=asked.learning_rate,
        max_length=asked.max_length,
        seed=SEED,
    )
    return TuningJob(
        base=Base(source=str(find_folder(MODEL, download=False))),
        settings=settle(wanted, examples=1000, longest_input=256),
        training_file=training,
        validation_file=validation,
        folder=folder / "job",
        device="cpu",
        name="ft:all-MiniLM-L6-v2:default:scifact:bench",
    )


def _tell(event: Event) -> None:
    match event:
        case Message():
            print(event.text, file=sys.stderr, flush=True)
        case Metrics() if event.step % 20 == 0:
            print(
                f"{event.step}/{event.total_steps} loss {event.values['train_loss']:.3f}", file=sys.stderr, flush=True
            )


if __name__ == "__main__":
    main()
