"""A tiny tuned model written out in one piece: what it answers then, and what is refused."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from finetune.adapter import Manifest, tokenizer_hash
from finetune.errors import ExportFailed
from finetune.export import merge
from finetune.export import write as export
from finetune.export.write import export_adapter, export_merged
from finetune.model import Base, load_model
from finetune.parity.trace import Trace, write_traces
from tests.fakes.tiny_adapter import tiny_adapter, tiny_tuned_whole
from tests.fakes.tiny_model import tiny_model

IDS = [5, 9, 40, 41, 42, 7, 8, 60, 61, 62, 100, 101]
NAME = "ft:tiny:default:terse:1"


def untold(_stage: str, _share: float) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("float32") / "tiny")


@pytest.fixture(scope="module")
def base_16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("bfloat16") / "tiny", dtype="bfloat16")


@pytest.fixture
def tuned(tmp_path: Path, base: Path) -> Path:
    tiny_adapter(tmp_path / "model", base)
    return tmp_path / "model"


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    trace = Trace(
        split="training",
        index=0,
        messages=[],
        tools=[],
        token_ids=IDS,
        mask=[False] * 6 + [True] * 6,
        pieces=[""] * len(IDS),
        logprobs=[0.0] * 6,
        untuned_logprobs=None,
        cut=False,
        dtype="float32",
        quantization="none",
        bos_token_id=None,
        continuation=None,
    )
    write_traces(tmp_path / "parity.jsonl", [trace])
    return tmp_path / "parity.jsonl"


def served(base: Path, adapter: Path, *, quantization: Any = "none", dtype: str = "float32") -> Any:
    """The model as the local engine has it."""
    import torch
    from peft import PeftModel

    loaded = load_model(Base(source=str(base)), quantization=quantization, device="cpu", dtype=getattr(torch, dtype))
    return PeftModel.from_pretrained(loaded, adapter).eval()


def plain(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([IDS])).logits[0].float()


def apart(one: Any, other: Any) -> float:
    """The largest difference of logits."""
    return float((logits(one) - logits(other)).abs().max())


def test_a_merged_model_answers_as_base_and_adapter_do(tuned: Path, base: Path, tmp_path: Path) -> None:
    found = export_merged(tuned, tmp_path / "merged", name=NAME, told=untold)
    merged = plain(found.folder)
    assert str(merged.dtype) == f"torch.{found.dtype}" == "torch.float32"
    assert apart(merged, served(base, tuned)) < 1e-4 < apart(merged, plain(base))


def test_it_carries_the_tokenizer_and_template_that_it_was_tuned_with(tuned: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    export_merged(tuned, tmp_path / "merged", name=NAME, told=untold)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer_hash(tokenizer) == Manifest.read(tuned).tokenizer_sha256
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tuned).chat_template


def test_whoever_may_read_the_config_may_read_the_weights(tuned: Path, tmp_path: Path) -> None:
    export_merged(tuned, tmp_path / "merged", name=NAME, told=untold)
    modes = {path.stat().st_mode for path in (tmp_path / "merged").iterdir()}
    assert len(modes) == 1


def test_in_16_bits_it_is_as_near_as_16_bits_are(base_16: Path, traces: Path, tmp_path: Path) -> None:
    tiny_adapter(tmp_path / "model", base_16, dtype="bfloat16")
    found = export_merged(tmp_path / "model", tmp_path / "merged", name=NAME, traces=traces, told=untold)
    assert found.fidelity is not None
    assert found.fidelity.tokens == 6
    assert 0 < found.fidelity.kl_per_token < 1e-3
    assert f"{found.fidelity.kl_per_token:.2e} nats a token" in (found.folder / "README.md").read_text()


def test_over_nf4_it_holds_the_weights_that_were_trained_over(base: Path, traces: Path, tmp_path: Path) -> None:
    tiny_adapter(tmp_path / "model", base, quantization="nf4")
    found = export_merged(tmp_path / "model", tmp_path / "merged", name=NAME, traces=traces, told=untold)
    assert found.fidelity is not None
    assert found.fidelity.kl_per_token < 1e-8
    assert found.fidelity.greedy_agreement == 1.0
    merged = plain(found.folder)
    assert apart(merged, served(base, tmp_path / "model", quantization="nf4")) < 1e-4
    assert apart(merged, served(base, tmp_path / "model")) > 1e-2


def test_a_large_model_is_written_in_shards(tuned: Path, base: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(merge, "SHARD_BYTES", 100_000)
    export_merged(tuned, tmp_path / "merged", name=NAME, told=untold)
    index = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    assert apart(plain(tmp_path / "merged"), served(base, tuned)) < 1e-4


def test_a_base_that_names_its_weights_without_the_models_prefix_is_merged(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    short = tmp_path / "short"
    shutil.copytree(base, short)
    weights = load_file(short / "model.safetensors")
    renamed = {name.removeprefix("model."): weight for name, weight in weights.items()}
    save_file(renamed, short / "model.safetensors", metadata={"format": "pt"})
    tiny_adapter(tmp_path / "model", short)
    export_merged(tmp_path / "model", tmp_path / "merged", name=NAME, told=untold)
    assert apart(plain(tmp_path / "merged"), served(short, tmp_path / "model")) < 1e-4


def test_a_model_that_was_tuned_whole_is_written_in_another_dtype(base: Path, tmp_path: Path) -> None:
    tiny_tuned_whole(tmp_path / "model", base)
    found = export_merged(tmp_path / "model", tmp_path / "merged", name=NAME, dtype="bfloat16", told=untold)
    merged = plain(found.folder)
    assert str(merged.dtype) == "torch.bfloat16"
    assert apart(merged, plain(base)) < 0.1


def test_progress_is_told_from_none_to_all(tuned: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []
    export_merged(tuned, tmp_path / "merged", name=NAME, told=lambda *one: heard.append(one))
    shares = [share for stage, share in heard if stage == merge.WRITING]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_the_card_says_what_it_is_made_of_and_no_path(base: Path, tmp_path: Path) -> None:
    parity = {
        "passed": True,
        "reasons": [],
        "sequences": 8,
        "identical": 8,
        "learned_tokens": 80,
        "tolerance": 1e-4,
        "mean_logprob_difference": 2e-7,
        "greedy_tokens": 100,
        "greedy_agreement": 1.0,
    }
    tiny_adapter(tmp_path / "model", base, base_license="apache-2.0", metrics={"train_loss": 0.25}, parity=parity)
    export_merged(tmp_path / "model", tmp_path / "merged", name=NAME, told=untold)
    card = (tmp_path / "merged" / "README.md").read_text()
    matter = yaml.safe_load(card.split("---\n")[1])
    assert (matter["license"], matter["base_model"]) == ("apache-2.0", "tiny")
    assert NAME in card
    assert "| train_loss | 0.25 |" in card
    assert Manifest.read(tmp_path / "model").data_sha256 in card
    assert "8 of 8 sequences" in card
    assert str(tmp_path) not in card


def test_a_licence_that_is_missing_is_said_to_be_unknown(tuned: Path, tmp_path: Path) -> None:
    export_adapter(tuned, tmp_path / "copy", name=NAME)
    card = (tmp_path / "copy" / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "unknown"
    assert "names no licence" in card


def test_an_adapter_is_copied_with_its_manifest_and_without_what_only_training_needs(
    tuned: Path, base: Path, tmp_path: Path
) -> None:
    (tuned / "optimizer.pt").write_bytes(b"state")
    export_adapter(tuned, tmp_path / "copy", name=NAME)
    assert Manifest.read(tmp_path / "copy") == Manifest.read(tuned)
    assert not (tmp_path / "copy" / "optimizer.pt").exists()
    assert apart(served(base, tmp_path / "copy"), served(base, tuned)) == 0.0


def test_a_folder_that_holds_anything_is_left_alone(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ExportFailed, match="not empty"):
        export_merged(tuned, tmp_path / "full", name=NAME, told=untold)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_too_small_a_disk_is_told_before_anything_is_written(tuned: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(export.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000_000))
    with pytest.raises(ExportFailed, match="not enough disk"):
        export_merged(tuned, tmp_path / "merged", name=NAME, told=untold)
    assert not (tmp_path / "merged").exists()


def test_an_export_that_fails_leaves_nothing(tuned: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def full_disk(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_merged", full_disk)
    before = set(tmp_path.iterdir())
    with pytest.raises(OSError, match="No space"):
        export_merged(tuned, tmp_path / "merged", name=NAME, told=untold)
    assert set(tmp_path.iterdir()) == before


def test_a_reward_model_is_not_merged(base: Path, tmp_path: Path) -> None:
    tiny_adapter(tmp_path / "model", base, method="reward")
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    (tmp_path / "model" / "manifest.json").write_text(json.dumps({**manifest, "kind": "reward"}))
    with pytest.raises(ExportFailed, match="writes no text"):
        export_merged(tmp_path / "model", tmp_path / "merged", name=NAME, told=untold)


def test_a_base_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "tiny")
    tiny_adapter(tmp_path / "model", base)
    tiny_model(base, seed=7)
    with pytest.raises(ExportFailed, match="not the one that this model was tuned over"):
        export_merged(tmp_path / "model", tmp_path / "merged", name=NAME, told=untold)


def test_a_tokenizer_that_has_changed_since_is_refused(tuned: Path, tmp_path: Path) -> None:
    template = tuned / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    with pytest.raises(ExportFailed, match="chat template"):
        export_merged(tuned, tmp_path / "merged", name=NAME, told=untold)


def test_an_adapter_that_is_more_than_lora_is_refused(tuned: Path, tmp_path: Path) -> None:
    path = tuned / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bias": "all"}))
    with pytest.raises(ExportFailed, match="bias"):
        export_merged(tuned, tmp_path / "merged", name=NAME, told=untold)
