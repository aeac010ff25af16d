"""What a tuning job is asked to do, as a recipe says it, and what it will do once nothing is `auto`.

A recipe (YAML, or the body of a job over HTTP) may leave nearly everything to loam. `settle` fills it in from the
size of the training file and says so in plain numbers: a `Settings` holds no `auto`.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

Method: TypeAlias = Literal["supervised", "dpo", "kto", "reward", "embedding"]
Quantization: TypeAlias = Literal["nf4", "none"]
Auto: TypeAlias = Literal["auto"]
Sharding: TypeAlias = Literal["auto", "full", "none"]

ALL_LINEAR: Final = "all-linear"
"""PEFT's name for every linear layer but the output head."""

EPOCHS = 3
BATCH_EXAMPLES = 8
BATCH_QUERIES = 16
BETA = 0.1
SEEDS = 2**31

LEARNING_RATES: dict[tuple[Method, bool], float] = {
    ("supervised", True): 2e-4,
    ("supervised", False): 2e-5,
    ("dpo", True): 2e-5,
    ("dpo", False): 1e-6,
    ("kto", True): 2e-5,
    ("kto", False): 1e-6,
    ("reward", True): 1e-4,
    ("reward", False): 1e-5,
    ("embedding", False): 1e-4,
}
"""The learning rate of each method, with LoRA and without; `learning_rate_multiplier` scales it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(_Strict):
    """The adapter: rank `r`, scaled by `alpha / r` (twice the rank by default), on the layers named by `targets`."""

    r: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: Annotated[int, Field(ge=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = ALL_LINEAR


class Hyperparameters(_Strict):
    """OpenAI's hyperparameters; `beta` is for `dpo` and `kto` alone."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0)] = "auto"
    beta: Auto | Annotated[float, Field(gt=0, le=2)] = "auto"


class Tuning(_Strict):
    """How to tune: what a recipe and a job over HTTP have in common.

    `lora` null tunes every weight, which `quantization` must then leave alone. `max_length` is in tokens; a longer
    sequence loses its end, and the check of the file says which. `packing` puts several sequences in a row of
    `max_length`. `train_on` is what is learned of a supervised example: the assistant's turns, or all of it.
    `checkpoint_steps` null saves once an epoch and at least every 500 steps. `negatives_from` names a collection of
    passages, such as a vector store, among which whoever starts the job finds wrong ones for an embedder's queries.
    `sharding` is of several GPUs: whether each holds a part of the weights (`full`) or all of them (`none`), which is
    faster; `auto` shares them out where they do not fit otherwise.
    """

    method: Method = "supervised"
    hyperparameters: Hyperparameters = Hyperparameters()
    quantization: Quantization = "nf4"
    lora: Lora | None = Lora()
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    max_length: Annotated[int, Field(ge=8)] | None = None
    packing: bool = False
    neftune_noise_alpha: Annotated[float, Field(gt=0)] | None = None
    train_on: Literal["assistant", "all"] = "assistant"
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    negatives_from: Annotated[str, Field(min_length=1)] | None = None
    sharding: Sharding = "auto"
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, asked: Any) -> Any:
        """An embedder is small, and is tuned whole: that is its default."""
        if isinstance(asked, dict) and asked.get("method") == "embedding":
            return {"lora": None, "quantization": "none"} | asked
        return asked

    @model_validator(mode="after")
    def _consistent(self) -> "Tuning":
        if self.lora is None and self.quantization != "none":
            raise ValueError("quantized weights cannot be tuned themselves: set quantization to none, or keep lora")
        if self.packing and self.method != "supervised":
            raise ValueError(f"packing is for supervised tuning, not for {self.method}")
        if self.train_on == "all" and self.method != "supervised":
            raise ValueError(f"train_on is for supervised tuning, not for {self.method}")
        if self.hyperparameters.beta != "auto" and self.method not in ("dpo", "kto"):
            raise ValueError(f"beta is for dpo and kto, not for {self.method}")
        if self.method == "embedding" and (self.lora is not None or self.neftune_noise_alpha is not None):
            raise ValueError("an embedder is tuned whole and as it is: leave lora and neftune_noise_alpha out")
        if self.negatives_from is not None and self.method != "embedding":
            raise ValueError(f"negatives_from is for embedding, not for {self.method}")
        return self


class Recipe(Tuning):
    """A tuning job on its own: `model` is a hub id, a directory, or the name of a model that loam knows."""

    model: Annotated[str, Field(min_length=1)]
    training_file: Path
    validation_file: Path | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A tuning with nothing left open. A step learns from `batch_size` examples, however they fit the device."""

    method: Method
    n_epochs: int
    batch_size: int
    learning_rate: float
    beta: float
    quantization: Quantization
    lora: Lora | None
    max_length: int | None
    packing: bool
    neftune_noise_alpha: float | None
    train_on: Literal["assistant", "all"]
    checkpoint_steps: int | None
    seed: int
    sharding: Sharding = "auto"


def settle(tuning: Tuning, *, examples: int, longest_input: int | None) -> Settings:
    """Decide what was left open, for a training file of so many examples.

    `auto` means: 3 epochs; 8 examples a step (16 of an embedder's), fewer when the file holds fewer; a multiplier of 1
    on LEARNING_RATES; a beta of 0.1. `max_length` is otherwise the longest input of the model, None where that is not
    known.
    """
    asked = tuning.hyperparameters
    batch = BATCH_QUERIES if tuning.method == "embedding" else BATCH_EXAMPLES
    multiplier = 1.0 if asked.learning_rate_multiplier == "auto" else asked.learning_rate_multiplier
    rate = tuning.learning_rate or LEARNING_RATES[tuning.method, tuning.lora is not None]
    return Settings(
        method=tuning.method,
        n_epochs=EPOCHS if asked.n_epochs == "auto" else asked.n_epochs,
        batch_size=min(batch, examples) if asked.batch_size == "auto" else asked.batch_size,
        learning_rate=rate * multiplier,
        beta=BETA if asked.beta == "auto" else asked.beta,
        quantization=tuning.quantization,
        lora=tuning.lora,
        max_length=tuning.max_length or longest_input,
        packing=tuning.packing,
        neftune_noise_alpha=tuning.neftune_noise_alpha,
        train_on=tuning.train_on,
        checkpoint_steps=tuning.checkpoint_steps,
        sharding=tuning.sharding,
        seed=secrets.randbelow(SEEDS) if tuning.seed is None else tuning.seed,
    )
