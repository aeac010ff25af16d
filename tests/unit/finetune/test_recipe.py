from pathlib import Path

import pytest

from finetune.config import Lora
from finetune.errors import InvalidRecipe
from finetune.recipe import load_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").touch()
    return tmp_path / "recipe.yaml"


def problems(recipe: Path, text: str) -> list[str]:
    recipe.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRecipe) as refused:
        load_recipe(recipe)
    return [line.replace(str(recipe), "recipe") for line in str(refused.value).splitlines()]


def test_what_is_left_out_has_its_default(recipe: Path) -> None:
    recipe.write_text("model: Qwen/Qwen3-4B\ntraining_file: train.jsonl\n", encoding="utf-8")
    loaded = load_recipe(recipe)
    assert (loaded.model, loaded.method, loaded.quantization, loaded.lora) == (
        "Qwen/Qwen3-4B",
        "supervised",
        "nf4",
        Lora(),
    )


def test_files_are_named_from_the_folder_of_the_recipe(recipe: Path) -> None:
    recipe.write_text("model: m\ntraining_file: train.jsonl\n", encoding="utf-8")
    assert load_recipe(recipe).training_file == recipe.parent / "train.jsonl"


def test_every_unknown_key_is_told_with_its_line(recipe: Path) -> None:
    assert problems(recipe, "model: m\ntraining_file: train.jsonl\nlora:\n  rank: 8\nsead: 3\n") == [
        "recipe, line 4: lora.rank: there is no such setting.",
        "recipe, line 5: sead: there is no such setting.",
    ]


def test_wrong_value_is_told_with_its_line(recipe: Path) -> None:
    assert problems(recipe, "model: m\ntraining_file: train.jsonl\nlora: {r: 0}\n") == [
        "recipe, line 3: lora.r: input should be greater than or equal to 1."
    ]


def test_value_of_none_of_its_types_is_told_once_for_each_at_its_own_line(recipe: Path) -> None:
    text = "model: m\ntraining_file: train.jsonl\nhyperparameters:\n  n_epochs: many\n"
    assert problems(recipe, text) == [
        "recipe, line 4: hyperparameters.n_epochs: input should be 'auto'.",
        "recipe, line 4: hyperparameters.n_epochs: input should be a valid integer, "
        "unable to parse string as an integer.",
    ]


def test_missing_key_is_told_of_the_recipe(recipe: Path) -> None:
    assert problems(recipe, "model: m\n") == ["recipe: training_file: field required."]


def test_settings_that_contradict_each_other_are_told_in_a_sentence(recipe: Path) -> None:
    assert problems(recipe, "model: m\ntraining_file: train.jsonl\nlora: null\n") == [
        "recipe: quantized weights cannot be tuned themselves: set quantization to none, or keep lora."
    ]


def test_file_that_is_not_there_is_told_with_its_line(recipe: Path) -> None:
    missing = recipe.parent / "none.jsonl"
    assert problems(recipe, "model: m\ntraining_file: none.jsonl\n") == [
        f"recipe, line 2: training_file: there is no file {str(missing)!r}."
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: m\n  lora: 3\n", "recipe, line 2: not valid YAML: mapping values are not allowed here."),
        ("- model\n", "recipe: must be a mapping, such as 'model: Qwen/Qwen3-4B'."),
        ("", "recipe: must be a mapping, such as 'model: Qwen/Qwen3-4B'."),
        ("model: \x00\n", "recipe: not valid YAML: it holds what is not text."),
    ],
)
def test_what_is_no_mapping_is_refused(recipe: Path, text: str, problem: str) -> None:
    assert problems(recipe, text) == [problem]
