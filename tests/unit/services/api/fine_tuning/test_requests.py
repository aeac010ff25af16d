"""What may be asked of a job, and which parameter is named where it may not."""

from typing import Any

import pytest
from pydantic import ValidationError

from finetune.config import Lora, Tuning
from services.api.errors import _param
from services.api.fine_tuning.requests import EXTRAS, CreateFineTuningJob
from services.errors import BadRequest

LEAST = {"model": "tiny", "training_file": "file-1"}


def asked(**more: Any) -> CreateFineTuningJob:
    return CreateFineTuningJob.model_validate(LEAST | more)


def refused(**more: Any) -> list[str | None]:
    """The parameters at fault, as an error over HTTP names them."""
    with pytest.raises(ValidationError) as error:
        asked(**more)
    return [_param(("body", *problem["loc"])) for problem in error.value.errors()]


def test_least_that_can_be_asked_leaves_all_to_loam() -> None:
    wanted = asked().wanted()
    assert (wanted.model, wanted.training_file, wanted.validation_file) == ("tiny", "file-1", None)
    assert wanted.tuning == Tuning()
    assert "lora" not in wanted.tuning.model_fields_set


def test_everything_openai_takes_is_taken() -> None:
    hyperparameters = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5, "beta": 0.2}
    wanted = asked(
        validation_file="file-2",
        suffix="cook",
        seed=7,
        method={"type": "dpo", "dpo": {"hyperparameters": hyperparameters}},
        integrations=[{"type": "wandb", "wandb": {"project": "p", "tags": ["a"]}}],
        metadata={"team": "kitchen"},
    ).wanted()
    assert wanted.tuning.method == "dpo"
    assert wanted.tuning.hyperparameters.model_dump() == hyperparameters
    assert (wanted.tuning.seed, wanted.suffix, wanted.metadata) == (7, "cook", {"team": "kitchen"})
    assert wanted.integrations == [{"type": "wandb", "wandb": {"project": "p", "tags": ["a"]}}]


def test_hyperparameters_are_taken_where_openai_had_them_before() -> None:
    assert asked(hyperparameters={"n_epochs": 4}).wanted().tuning.hyperparameters.n_epochs == 4


def test_hyperparameters_in_two_places_are_refused() -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    with pytest.raises(BadRequest) as error:
        asked(method=method, hyperparameters={"n_epochs": 3}).wanted()
    assert error.value.param == "hyperparameters"


def test_extras_are_those_of_a_recipe() -> None:
    assert set(EXTRAS) == Tuning.model_fields.keys() - {"method", "hyperparameters", "seed"}
    tuning = (
        asked(
            quantization="none",
            lora={"r": 8, "targets": ["q_proj"]},
            learning_rate=1e-3,
            max_length=64,
            packing=True,
            neftune_noise_alpha=5,
            train_on="all",
            checkpoint_steps=10,
            sharding="full",
        )
        .wanted()
        .tuning
    )
    assert tuning.lora == Lora(r=8, targets=("q_proj",))
    assert (tuning.quantization, tuning.max_length, tuning.packing, tuning.train_on) == ("none", 64, True, "all")
    assert tuning.sharding == "full"


def test_no_lora_is_a_full_tuning() -> None:
    assert asked(lora=None, quantization="none").wanted().tuning.lora is None


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"lora": None}, "quantization"),
        ({"method": {"type": "dpo"}, "packing": True}, "packing"),
        ({"method": {"type": "dpo"}, "train_on": "all"}, "train_on"),
    ],
)
def test_what_does_not_go_together_names_a_parameter(more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as error:
        asked(**more).wanted()
    assert (error.value.param, error.value.code) == (param, "invalid_value")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"suffix": "x" * 65}, "suffix"),
        ({"suffix": ""}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"epochs": 3}, "epochs"),
        ({"method": {"type": "reinforcement"}}, "method.type"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 1.5}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"batch_size": 0}}, "hyperparameters.batch_size"),
        ({"hyperparameters": {"beta": 0.1}}, "hyperparameters.beta"),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}},
            "method.dpo.hyperparameters.beta",
        ),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"learning_rate_multiplier": 0}}}},
            "method.supervised.hyperparameters.learning_rate_multiplier",
        ),
        ({"integrations": [{"type": "wandb"}]}, "integrations[0].wandb.wandb"),
        ({"integrations": [{"type": "mlflow"}]}, "integrations[0]"),
        ({"metadata": {"k" * 65: "v"}}, "metadata." + "k" * 65 + ".[key]"),
        ({"lora": {"rank": 8}}, "lora.rank"),
        ({"lora": {"r": 0}}, "lora.r"),
        ({"lora": {"targets": []}}, "lora.targets"),
        ({"quantization": "int8"}, "quantization"),
        ({"max_length": 4}, "max_length"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_what_cannot_be_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    assert refused(**more) == [param]
