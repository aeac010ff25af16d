"""`loam finetune plan` over a model that is there, and over one of which only the configuration is."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from services.cli.main import cli
from tests.fakes.tiny_model import tiny_model

EXAMPLES = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", hidden=256)


@pytest.fixture
def recipe(tmp_path: Path, model: Path) -> Path:
    rows = [
        {"messages": [{"role": "user", "content": "two and two? " * 20}, {"role": "assistant", "content": f"{number}"}]}
        for number in range(EXAMPLES)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.yaml"
    path.write_text(f"model: {model}\ntraining_file: train.jsonl\nvalidation_file: train.jsonl\n")
    return path


def run(home: Path, *arguments: object) -> Result:
    return CliRunner().invoke(cli, ["--home", str(home), "finetune", "plan", *map(str, arguments)])


def planned(home: Path, *arguments: object) -> Any:
    return json.loads(run(home, *arguments, "--json").stdout)


def test_plan_is_a_table_with_the_choice_and_why(home: Path, recipe: Path, model: Path) -> None:
    result = run(home, recipe)
    assert result.exit_code == 0, result.output
    first, _, step, *_ = result.stdout.splitlines()
    assert first.startswith(f"{model} on cpu, ")
    assert step.startswith("A step learns from 4 examples: 1 x 4, of at most ")
    assert (
        "Gradient checkpointing off, activation offloading off, optimizer adamw_torch, attention sdpa." in result.stdout
    )
    assert "All 4 examples of a step fit in one pass." in result.stdout
    rows = [line.split()[0] for line in result.stdout.partition("MEMORY AT MOST\n")[2].splitlines()]
    assert set(rows) == {"a", "weights", "adapter", "gradients", "optimizer", "activations", "an", "saving", "to"}


def test_plan_for_programs_has_the_settings_too(home: Path, recipe: Path) -> None:
    found = planned(home, recipe, "--device-memory", 8)
    plan = found["plan"]
    assert (found["fits"], found["exact"], plan["device"], plan["device_bytes"]) == (True, True, "cuda:0", 8 << 30)
    assert plan["needed_bytes"] >= plan["peaks"]["step"] == sum(plan["parts"].values())
    assert found["settings"]["lora"]["r"] == 16


def test_devices_share_a_step_in_a_plan(home: Path, recipe: Path) -> None:
    plan = planned(home, recipe, "--device-memory", 8, "--devices", 2)["plan"]
    assert (plan["device"], plan["processes"], plan["micro_batch"], plan["accumulation"]) == ("cuda", 2, 2, 1)
    said = run(home, recipe, "--device-memory", 8, "--devices", 2).stdout
    assert "on 2 GPUs, 8.00 GiB free on each: it fits." in said
    assert "A step learns from 4 examples: 1 x 2 on each of 2 GPUs, of at most " in said


def test_devices_without_their_memory_are_misuse(home: Path, recipe: Path) -> None:
    assert run(home, recipe, "--devices", 2).exit_code == 2


def test_refusal_is_told_with_what_would_fit(home: Path, recipe: Path) -> None:
    refused = run(home, recipe, "--device-memory", 1, "--json")
    assert refused.exit_code == 1
    found = json.loads(refused.stdout)
    assert found["fits"] is False
    assert found["needed_bytes"] > 1 << 30
    assert "'cuda:0' has 1.0 GiB free" in found["message"]


def test_tokens_are_estimated_where_only_the_configuration_is_there(home: Path, recipe: Path, model: Path) -> None:
    alone = recipe.parent / "alone"
    alone.mkdir()
    (alone / "config.json").write_bytes((model / "config.json").read_bytes())
    recipe.write_text(f"model: {alone}\ntraining_file: train.jsonl\n", encoding="utf-8")
    assert planned(home, recipe)["exact"] is False


def test_unknown_key_of_a_recipe_is_misuse_and_told_with_its_line(home: Path, recipe: Path) -> None:
    recipe.write_text(recipe.read_text(encoding="utf-8") + "epochs: 3\n", encoding="utf-8")
    result = run(home, recipe)
    assert result.exit_code == 2
    assert f"{recipe}, line 4: epochs: there is no such setting." in result.output


def test_length_that_the_model_does_not_take_is_misuse(home: Path, recipe: Path) -> None:
    recipe.write_text(recipe.read_text(encoding="utf-8") + "max_length: 600\n", encoding="utf-8")
    result = run(home, recipe)
    assert result.exit_code == 2
    assert "takes 512 tokens at most, and max_length is 600" in result.output


def test_file_with_errors_is_not_planned(home: Path, recipe: Path) -> None:
    (recipe.parent / "train.jsonl").write_text('{"messages": 3}\n')
    result = run(home, recipe)
    assert result.exit_code == 1
    assert "cannot be used for training: 1 error" in str(result.exception)
