"""What a training leaves: weights that are those that were trained, and a manifest that says what they belong to."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune.adapter import Manifest, base_hash, tokenizer_hash
from finetune.errors import TrainingFailed
from finetune.job import Outcome
from finetune.model import Base, load_model
from finetune.parity.trace import read_traces
from finetune.run import tune
from finetune.tokenizer import load_tokenizer
from finetune.train.lora import attach
from prompts.chat_format import template_hash, template_of
from tests.fakes.tuning_jobs import Told, job_of, plan_of, teachable_model, write_chats, write_pairs


@dataclass(frozen=True)
class Made:
    base: Path
    training: Path
    outcome: Outcome
    told: Told

    @property
    def folder(self) -> Path:
        assert self.outcome.folder is not None
        return self.outcome.folder

    @property
    def manifest(self) -> Manifest:
        assert self.outcome.manifest is not None
        return self.outcome.manifest


def made_in(folder: Path, *, dtype: str = "float32", method: str = "supervised", **recipe: Any) -> Made:
    base = teachable_model(folder / "base", dtype=dtype)
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    training = write_chats(folder / "training.jsonl", times=4)
    if method == "dpo":
        training = write_pairs(folder / "training.jsonl", times=4)
    job = job_of(
        folder / "job",
        base,
        training,
        method=method,
        job={"plan": plan_of(4, 1), "validation_file": training},
        n_epochs=2,
        batch_size=4,
        **recipe,
    )
    told = Told()
    return Made(base, training, tune(job, told, lambda: None), told)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made_in(tmp_path_factory.mktemp("made"), quantization="nf4", learning_rate=5e-3)


def test_the_folder_holds_what_serving_needs_and_nothing_else(made: Made) -> None:
    assert {path.name for path in made.folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "manifest.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    names = {path.name for path in made.folder.parent.iterdir()}
    assert names == {".lock", "checkpoints", "model", "parity.jsonl"}


def test_the_manifest_says_what_it_was_made_from(made: Made) -> None:
    sha256 = hashlib.sha256(made.training.read_bytes()).hexdigest()
    manifest = made.manifest
    assert manifest == Manifest.read(made.folder)
    assert (manifest.base, manifest.base_license, manifest.kind) == (str(made.base), "apache-2.0", "adapter")
    assert (manifest.base_sha256, manifest.data_sha256) == (base_hash(made.base), sha256)
    assert (manifest.quantization, manifest.dtype, manifest.steps) == ("nf4", "float32", 4)
    assert manifest.metrics == made.told.curve[4]
    assert manifest.trained_tokens == made.outcome.trained_tokens
    assert manifest.plan is not None
    assert manifest.plan["micro_batch"] == 4
    assert manifest.settings["lora"]["r"] == 16
    assert {"torch", "transformers", "peft", "trl", "bitsandbytes"} < manifest.versions.keys()


def test_the_tokenizer_and_its_template_are_the_bases_own(made: Made) -> None:
    kept, own = load_tokenizer(str(made.folder)), load_tokenizer(str(made.base))
    assert tokenizer_hash(kept) == tokenizer_hash(own) == made.manifest.tokenizer_sha256
    assert template_hash(template_of(kept)) == template_hash(template_of(own)) == made.manifest.template_sha256


def test_a_checkpoint_is_served_as_the_result_is(made: Made) -> None:
    checkpoint = made.folder.parent / "checkpoints" / "step-2"
    assert {path.name for path in checkpoint.iterdir()} == {path.name for path in made.folder.iterdir()}
    manifest = Manifest.read(checkpoint)
    assert (manifest.steps, manifest.metrics) == (2, made.told.curve[2])


@pytest.mark.parametrize(
    ("dtype", "recipe"),
    [
        ("float32", {"quantization": "nf4"}),
        ("bfloat16", {"quantization": "nf4"}),
        ("bfloat16", {"quantization": "none"}),
        ("bfloat16", {"quantization": "none", "lora": None}),
    ],
    ids=["qlora-32", "qlora-16", "lora-16", "full-16"],
)
def test_what_is_saved_is_what_was_trained(tmp_path: Path, dtype: str, recipe: dict[str, Any]) -> None:
    made = made_in(tmp_path, dtype=dtype, learning_rate=1e-3, **recipe)
    whole = made.manifest.kind == "full"
    stored = load_file(made.folder / ("model.safetensors" if whole else "adapter_model.safetensors"))
    assert {weights.dtype for weights in stored.values()} == {torch.bfloat16 if whole else torch.float32}
    assert made.manifest.dtype == dtype
    base = Base(source=str(made.folder if whole else made.base))
    model = load_model(base, quantization=recipe["quantization"], device="cpu")
    served = (model if whole else attach(model, None, adapter=made.folder)).eval()
    for trace in read_traces(made.folder.parent / "parity.jsonl"):
        with torch.no_grad():
            logits = served(input_ids=torch.tensor([trace.token_ids])).logits[0].float()
        logprobs = logits.log_softmax(-1)
        found = [float(logprobs[place - 1, trace.token_ids[place]]) for place in trace.learned]
        assert found == pytest.approx(trace.logprobs, abs=1e-5 if dtype == "float32" else 2e-2)


def test_a_full_tuning_keeps_the_weights_exact_that_it_goes_on_from(tmp_path: Path) -> None:
    made = made_in(tmp_path, dtype="bfloat16", quantization="none", lora=None, learning_rate=1e-3)
    checkpoint = made.folder.parent / "checkpoints" / "step-2"
    weights = load_file(checkpoint / "model.safetensors")
    assert {one.dtype for one in weights.values()} == {torch.float32}
    assert Manifest.read(checkpoint).dtype == "float32"
    assert json.loads((made.folder / "config.json").read_text())["use_cache"] is True


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_a_tuned_model_is_gone_on_from(tmp_path: Path, method: str) -> None:
    first = made_in(tmp_path / "first", method=method, quantization="nf4", learning_rate=5e-3, lora={"r": 4})
    job = job_of(
        tmp_path / "second",
        first.base,
        first.training,
        adapter=first.folder,
        method=method,
        job={"parent": "ft:tiny:default::1"},
        n_epochs=2,
        batch_size=8,
        quantization="nf4",
        lora={"r": 16},
        learning_rate=5e-3,
    )
    told = Told()
    outcome = tune(job, told, lambda: None)
    assert outcome.manifest is not None
    assert outcome.manifest.parent == "ft:tiny:default::1"
    assert "LoRA of rank 4" in told.sentences
    if method == "supervised":
        # Its first step is still of the model that the first training ended with.
        assert told.curve[1]["train_loss"] == pytest.approx(first.told.curve[4]["valid_loss"], rel=1e-4)
    else:
        # What is held against is that model too, so that nothing is yet preferred.
        assert told.curve[1]["train_loss"] == pytest.approx(0.693147, rel=1e-5)
    assert outcome.folder is not None
    assert not (outcome.folder / "ref").exists()


def test_a_reward_model_is_not_gone_on_from_as_what_answers(tmp_path: Path) -> None:
    base = teachable_model(tmp_path / "base")
    pairs = write_pairs(tmp_path / "pairs.jsonl", times=2)
    reward = job_of(tmp_path / "reward", base, pairs, method="reward", n_epochs=1, quantization="none")
    outcome = tune(reward, Told(), lambda: None)
    job = job_of(tmp_path / "dpo", base, pairs, adapter=outcome.folder, method="dpo", quantization="none")
    with pytest.raises(TrainingFailed, match="A model of kind reward cannot be gone on from by this method"):
        tune(job, Told(), lambda: None)
