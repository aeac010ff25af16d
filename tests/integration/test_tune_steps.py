"""A step is the same step however it is cut up, evaluated, rehearsed or packed."""

from pathlib import Path
from typing import Any

import pytest

from finetune.run import tune
from tests.fakes.tuning_jobs import Told, job_of, plan_of, teachable_model, write_chats, write_pairs

# Of several lengths, so that the micro-batches of a step learn from different numbers of tokens.
CHATS = {f"what is {number}?": f"it is {'four ' * number}." for number in range(10)}


@pytest.fixture(autouse=True)
def without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded for parity takes longer than a tiny training, and is proved elsewhere."""
    monkeypatch.setattr("finetune.train.result.record", lambda *_, **__: 0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teachable_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_chats(tmp_path / "training.jsonl", CHATS)


def told_of(folder: Path, base: Path, training: Path, job: dict[str, Any] | None = None, **recipe: Any) -> Told:
    told = Told()
    defaults = {"quantization": "none", "n_epochs": 2, "batch_size": 8, "learning_rate": 5e-3}
    tune(job_of(folder, base, training, job=job or {}, **{**defaults, **recipe}), told, told.should_stop)
    return told


@pytest.mark.parametrize("recipe", [{}, {"quantization": "nf4"}, {"lora": None}], ids=["lora", "qlora", "full"])
def test_one_example_at_a_time_is_all_at_once(tmp_path: Path, base: Path, chats: Path, recipe: dict[str, Any]) -> None:
    whole = told_of(tmp_path / "whole", base, chats, {"plan": plan_of(8, 1)}, **recipe)
    parts = told_of(tmp_path / "parts", base, chats, {"plan": plan_of(1, 8)}, **recipe)
    assert len(whole.curve) == 4
    assert_same(whole, parts)


def test_one_pair_at_a_time_is_all_at_once(tmp_path: Path, base: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", times=5)
    # The last step of an epoch has two pairs, and a micro-batch of three does not divide eight.
    whole = told_of(tmp_path / "whole", base, pairs, {"plan": plan_of(8, 1)}, method="dpo")
    parts = told_of(tmp_path / "parts", base, pairs, {"plan": plan_of(3, 3)}, method="dpo", batch_size=9)
    alone = told_of(tmp_path / "alone", base, pairs, {"plan": plan_of(1, 8)}, method="dpo")
    assert_same(whole, alone)
    assert parts.curve[1]["train_loss"] == pytest.approx(whole.curve[1]["train_loss"])


def test_validation_is_the_same_in_batches_of_any_size(tmp_path: Path, base: Path, chats: Path) -> None:
    jobs = [{"validation_file": chats, "plan": plan_of(*parts)} for parts in ((8, 1), (3, 3), (1, 8))]
    told = [told_of(tmp_path / str(number), base, chats, job, n_epochs=1) for number, job in enumerate(jobs)]
    losses = [one.curve[2]["valid_loss"] for one in (told[0], told[2])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert told[0].curve[2]["full_valid_loss"] == losses[0]


def test_a_training_is_the_same_whether_it_is_validated_or_not(tmp_path: Path, base: Path, chats: Path) -> None:
    recipe: dict[str, Any] = {"lora": {"dropout": 0.2}, "neftune_noise_alpha": 5, "checkpoint_steps": 1}
    without = told_of(tmp_path / "without", base, chats, **recipe)
    validated = told_of(tmp_path / "validated", base, chats, {"validation_file": chats}, **recipe)
    losses = [[values["train_loss"] for values in told.curve.values()] for told in (without, validated)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_is_the_same_however_often_it_is_saved(tmp_path: Path, chats: Path, dtype: str) -> None:
    base = teachable_model(tmp_path / "base", dtype=dtype)
    often, once = (
        told_of(tmp_path / str(steps), base, chats, lora={"dropout": 0.2}, checkpoint_steps=steps) for steps in (1, 4)
    )
    assert (often.checkpoints, once.checkpoints) == ([1, 2, 3, 4], [4])
    assert often.curve == once.curve


def test_the_rehearsal_leaves_no_trace(
    tmp_path: Path, base: Path, chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe: dict[str, Any] = {"lora": {"dropout": 0.2}, "neftune_noise_alpha": 5}
    rehearsed = told_of(tmp_path / "rehearsed", base, chats, {"validation_file": chats}, **recipe)
    assert "The longest batch (8 x 57 tokens) fits" in rehearsed.sentences
    monkeypatch.setattr("finetune.train.trainer.JobTrainer.rehearse", lambda *_: None)
    plain = told_of(tmp_path / "plain", base, chats, {"validation_file": chats}, **recipe)
    assert rehearsed.curve == plain.curve
    assert [event for event in rehearsed.events if hasattr(event, "tokens")] == [
        event for event in plain.events if hasattr(event, "tokens")
    ]


def test_packed_rows_learn_what_their_examples_would(tmp_path: Path, base: Path, chats: Path) -> None:
    recipe: dict[str, Any] = {"max_length": 128, "n_epochs": 1}
    apart = told_of(tmp_path / "apart", base, chats, batch_size=10, **recipe)
    packed = told_of(tmp_path / "packed", base, chats, packing=True, **recipe)
    assert "packed into 5 rows" in packed.sentences
    for figure in ("train_loss", "train_mean_token_accuracy", "grad_norm"):
        assert packed.curve[1][figure] == pytest.approx(apart.curve[1][figure], rel=1e-4), figure


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path: Path, base: Path, chats: Path) -> None:
    plain = told_of(tmp_path / "plain", base, chats, {"plan": plan_of(8, 1)})
    spared = told_of(tmp_path / "spared", base, chats, {"plan": plan_of(8, 1, gradient_checkpointing=True)})
    assert_same(plain, spared)
    assert "gradient checkpointing for memory" in spared.sentences


def test_all_tokens_are_learned_if_so_asked(tmp_path: Path, base: Path) -> None:
    chats = write_chats(tmp_path / "one.jsonl", {"what?": "four."}, times=2)
    answers = told_of(tmp_path / "answers", base, chats, n_epochs=1)
    everything = told_of(tmp_path / "everything", base, chats, n_epochs=1, train_on="all")
    # Of 44 tokens the first follows nothing. An answer's end, and the empty thoughts before it, are learned too.
    assert "86 tokens are learned" in everything.sentences
    assert "48 tokens are learned" in answers.sentences


def assert_same(one: Told, other: Told) -> None:
    for step, values in one.curve.items():
        assert other.curve[step] == pytest.approx(values, rel=1e-3, abs=1e-5), step
