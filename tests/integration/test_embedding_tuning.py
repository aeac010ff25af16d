"""Tuning a tiny embedder for real: it learns, it is measured, and it goes on from where it was stopped."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

from finetune.adapter import Manifest
from finetune.config import Hyperparameters, Tuning, settle
from finetune.encoder import negatives
from finetune.encoder.embedding import NDCG, NDCG_BEFORE
from finetune.errors import TrainerKilled, TrainingFailed
from finetune.events import Checkpoint, Event, Message, Metrics, Stop
from finetune.job import Outcome, TuningJob
from finetune.model import Base
from finetune.processes.process import start
from finetune.run import tune
from tests.fakes.ciphers import save_ciphers
from tests.fakes.tiny_encoder import save_tiny_encoder

EPOCHS, ROWS, BATCH = 4, 100, 16
STEPS = EPOCHS * 6
"""Of 100 queries 10 are held out, and 90 are 6 batches."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def new_job(folder: Path, encoder: Path) -> TuningJob:
    asked = Tuning(method="embedding", hyperparameters=Hyperparameters(n_epochs=EPOCHS), learning_rate=3e-3, seed=7)
    return TuningJob(
        base=Base(source=str(encoder)),
        settings=settle(asked, examples=ROWS, longest_input=16),
        training_file=save_ciphers(folder / "train.jsonl", ROWS),
        folder=folder / "job",
        device="cpu",
        name="ft:tiny:default::1",
    )


def tuned(job: TuningJob, asked: Callable[[], Stop | None] = lambda: None) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    return tune(job, events.append, asked), events


@pytest.fixture
def job(tmp_path: Path, encoder: Path) -> TuningJob:
    return new_job(tmp_path, encoder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> tuple[Outcome, list[Event]]:
    """A training that nothing has stopped."""
    return tuned(new_job(tmp_path_factory.mktemp("whole"), encoder))


def losses(events: list[Event]) -> dict[int, float]:
    made = (event for event in events if isinstance(event, Metrics) and not event.recalled)
    return {event.step: event.values["train_loss"] for event in made}


def folder_of(outcome: Outcome) -> Path:
    assert outcome.folder is not None
    return outcome.folder


def manifest_of(outcome: Outcome) -> Manifest:
    assert outcome.manifest is not None
    return outcome.manifest


def test_held_out_queries_are_ranked_better_than_before(whole: tuple[Outcome, list[Event]]) -> None:
    outcome, events = whole
    manifest = manifest_of(outcome)
    assert (outcome.step, outcome.stopped, manifest.kind) == (STEPS, None, "embedder")
    assert manifest.metrics[NDCG] > manifest.metrics[NDCG_BEFORE] + 0.2
    assert Manifest.read(folder_of(outcome)) == manifest
    assert [event.step for event in events if isinstance(event, Checkpoint)] == [6, 12, 18, 24]
    last = [event for event in events if isinstance(event, Metrics)][-1]
    assert (last.step, last.values[NDCG]) == (STEPS, manifest.metrics[NDCG])
    told = " ".join(event.text for event in events if isinstance(event, Message))
    assert "90 queries with 90 passages are trained on" in told
    assert "10 of the 100 queries of the training file, which are not trained on: 0." in told


def test_the_result_and_its_checkpoints_are_embedders(whole: tuple[Outcome, list[Event]]) -> None:
    folder = folder_of(whole[0])
    folders = (folder, *(folder.parent / "checkpoints" / f"step-{step}" for step in (24, 6)))
    result, last, first = (
        SentenceTransformer(str(folder), device="cpu").encode(["a b c", "n o p"], normalize_embeddings=True)
        for folder in folders
    )
    assert result[0] @ result[1] > 0.8
    assert np.array_equal(result, last)
    assert not np.allclose(last, first, atol=0.01)


def assert_alike(resumed: Outcome, uninterrupted: Outcome) -> None:
    assert manifest_of(resumed).metrics == pytest.approx(manifest_of(uninterrupted).metrics, rel=1e-4)
    assert resumed.trained_tokens == uninterrupted.trained_tokens
    base = Path(manifest_of(uninterrupted).base)
    start, first, second = (
        load_file(folder / "model.safetensors") for folder in (base, folder_of(uninterrupted), folder_of(resumed))
    )
    # AdamW makes a whole step of a gradient that is nothing but rounding: another number of threads moves it by 1 %.
    assert distance(first, second) < 0.05 * distance(start, first)


def distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Euclidean, over all weights."""
    return float(np.sqrt(sum(((one[name] - other[name]) ** 2).sum() for name in one)))


def test_a_paused_training_goes_on_as_if_it_had_not_been(job: TuningJob, whole: tuple[Outcome, list[Event]]) -> None:
    uninterrupted, events = whole
    told: list[Event] = []
    paused = tune(job, told.append, lambda: Stop.PAUSE if max(losses(told), default=0) >= 9 else None)
    assert (paused.stopped, paused.step) == (Stop.PAUSE, 10)
    mined = negatives.read(job.folder)
    resumed, more = tuned(job)
    assert min(losses(more)) == 11
    assert losses(told) | losses(more) == pytest.approx(losses(events), rel=1e-5)
    assert negatives.read(job.folder) == mined
    assert_alike(resumed, uninterrupted)


def test_a_killed_training_goes_on_from_its_last_checkpoint(job: TuningJob, whole: tuple[Outcome, list[Event]]) -> None:
    uninterrupted, events = whole
    trainer = start(job)
    for event in trainer.events():
        if isinstance(event, Metrics) and event.step == 9:
            trainer.kill()
    with pytest.raises(TrainerKilled):
        trainer.outcome()
    resumed, more = tuned(job)
    assert min(losses(more)) in (7, 13, 19)
    assert losses(more) == pytest.approx({step: losses(events)[step] for step in losses(more)}, rel=1e-4)
    assert_alike(resumed, uninterrupted)


def test_a_job_that_is_stopped_while_it_embeds_has_made_no_step(job: TuningJob) -> None:
    outcome, events = tuned(job, lambda: Stop.PAUSE)
    assert outcome == Outcome(step=0, stopped=Stop.PAUSE)
    assert events == []


def test_negatives_that_lie_with_the_job_are_learned_from(job: TuningJob) -> None:
    negatives.write(job.folder, [("a store's own passage",)] * 90)
    tuned(job)
    assert negatives.read(job.folder) == [("a store's own passage",)] * 90


def test_a_validation_file_is_what_it_is_measured_by(job: TuningJob, tmp_path: Path) -> None:
    validation = save_ciphers(tmp_path / "valid.jsonl", 20, seed=9)
    outcome, events = tuned(replace(job, validation_file=validation))
    manifest = manifest_of(outcome)
    assert manifest.validation_sha256 is not None
    assert manifest.metrics[NDCG] > manifest.metrics[NDCG_BEFORE]
    told = " ".join(event.text for event in events if isinstance(event, Message))
    assert "100 queries with 100 passages are trained on" in told
    assert "queries of the validation file" in told


def test_a_file_for_another_method_is_refused(job: TuningJob, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n", encoding="utf-8")
    with pytest.raises(TrainingFailed, match="is a file for supervised, and the method is embedding"):
        tuned(replace(job, training_file=path))


def test_a_folder_that_is_no_embedder_is_refused(job: TuningJob, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"has no modules\.json"):
        tuned(replace(job, base=Base(source=str(tmp_path))))
