"""Each method on tiny models, from a training file to a model that does what it was taught."""

from pathlib import Path
from typing import Any

import pytest

from finetune.job import Outcome
from finetune.run import tune
from tests.fakes.tuning_jobs import (
    FACTS,
    Told,
    answer_of,
    job_of,
    teachable_model,
    write_chats,
    write_pairs,
    write_rows,
)

LABELLED = [
    {"prompt": asked, "completion": answer, "label": good}
    for asked in FACTS
    for answer, good in (("yes, it is.", True), ("never five.", False))
]


@pytest.fixture(autouse=True)
def without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded for parity takes longer than a tiny training, and is proved elsewhere."""
    monkeypatch.setattr("finetune.train.result.record", lambda *_, **__: 0)


def taught(folder: Path, base: Path, training: Path, **recipe: Any) -> tuple[Outcome, Told]:
    told = Told()
    return tune(job_of(folder / "job", base, training, **recipe), told, told.should_stop), told


@pytest.mark.parametrize(
    ("family", "recipe"),
    [
        ("llama", {"quantization": "nf4", "lora": {"r": 16}, "learning_rate": 5e-3}),
        ("qwen3", {"quantization": "nf4", "lora": {"r": 16}, "learning_rate": 5e-3}),
        ("llama", {"quantization": "none", "lora": {"r": 16}, "learning_rate": 5e-3}),
        ("qwen3", {"quantization": "none", "lora": None, "learning_rate": 3e-3}),
    ],
    ids=["llama-qlora", "qwen3-qlora", "llama-lora", "qwen3-full"],
)
def test_a_model_answers_what_it_was_taught(tmp_path: Path, family: Any, recipe: dict[str, Any]) -> None:
    base = teachable_model(tmp_path / "base", family=family)
    training = write_chats(tmp_path / "training.jsonl", times=4)
    outcome, told = taught(tmp_path, base, training, n_epochs=20, batch_size=4, checkpoint_steps=100, **recipe)
    assert outcome.folder is not None
    answers = {
        asked: answer_of(base, outcome.folder, asked, quantization=recipe["quantization"]).rpartition("\n")[2]
        for asked in FACTS
    }
    assert answers == {asked: f"{answer}<|im_end|>" for asked, answer in FACTS.items()}
    assert told.curve[40]["train_mean_token_accuracy"] == 1.0


@pytest.mark.parametrize(
    "recipe",
    [
        {"quantization": "nf4", "lora": {"r": 8}, "learning_rate": 2e-3},
        {"quantization": "none", "lora": None, "learning_rate": 3e-4},
    ],
    ids=["qlora", "full"],
)
def test_dpo_tells_the_better_answer_of_every_pair(tmp_path: Path, recipe: dict[str, Any]) -> None:
    base = teachable_model(tmp_path / "base")
    training = write_pairs(tmp_path / "training.jsonl", times=4)
    _, told = taught(tmp_path, base, training, method="dpo", n_epochs=3, batch_size=4, **recipe)
    first, last = told.curve[1], told.curve[6]
    # A model is as likely as itself: the loss begins at the logarithm of two.
    assert (first["train_loss"], first["rewards_margins"]) == (pytest.approx(0.693147), 0.0)
    assert last["rewards_accuracies"] == 1.0
    assert last["rewards_margins"] > 1
    assert last["rewards_margins"] == pytest.approx(last["rewards_chosen"] - last["rewards_rejected"], abs=1e-5)


def test_kto_rewards_good_answers_above_bad_ones(tmp_path: Path) -> None:
    base = teachable_model(tmp_path / "base")
    # Of three good answers to one bad, the bad must weigh three times as much.
    training = write_rows(tmp_path / "training.jsonl", [*LABELLED, *LABELLED[::2], *LABELLED[::2]])
    _, told = taught(tmp_path, base, training, method="kto", n_epochs=6, batch_size=8, learning_rate=2e-3)
    first, last = told.curve[1], told.curve[6]
    assert first["train_loss"] == pytest.approx(0.5 * (6 * 1 + 2 * 3) / 8)
    assert last["rewards_margins"] > 1


def test_a_reward_model_scores_the_better_answer_higher(tmp_path: Path) -> None:
    base = teachable_model(tmp_path / "base")
    training = write_pairs(tmp_path / "training.jsonl", times=4)
    outcome, told = taught(
        tmp_path, base, training, method="reward", n_epochs=6, batch_size=4, learning_rate=5e-3, lora={"r": 8}
    )
    assert told.curve[12]["rewards_accuracies"] == 1.0
    assert told.curve[12]["train_loss"] < 0.5
    assert outcome.manifest is not None
    assert outcome.manifest.kind == "reward"


def test_a_reward_models_head_is_kept_with_its_adapter(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    base = teachable_model(tmp_path / "base")
    training = write_pairs(tmp_path / "training.jsonl", times=2)
    outcome, _ = taught(tmp_path, base, training, method="reward", n_epochs=1, batch_size=4, quantization="nf4")
    assert outcome.folder is not None
    weights = load_file(outcome.folder / "adapter_model.safetensors")
    assert weights["base_model.model.score.weight"].shape == (1, 64)
