"""The wire of a fine-tuning job as it is asked for: OpenAI's fields, and loam's beside them."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from finetune.config import SEEDS, Method, Tuning
from services.api.wire import BRANCH, LIST, TEXT, Metadata, Text, WireRequest, text_or_list
from services.errors import BadRequest
from services.tuning_requests import WantedTuning

AUTO, NUMBER = f"{BRANCH}auto", f"{BRANCH}number"
EXTRAS: Final = (
    "quantization",
    "lora",
    "learning_rate",
    "max_length",
    "packing",
    "neftune_noise_alpha",
    "train_on",
    "checkpoint_steps",
    "negatives_from",
    "sharding",
)
"""What a job takes beside OpenAI's fields, as `finetune.config.Tuning` has it."""


def _auto_or_number(given: Any) -> str:
    return AUTO if isinstance(given, str) else NUMBER


_Auto: TypeAlias = Annotated[Literal["auto"], Tag(AUTO)]
_IsAuto = Discriminator(_auto_or_number)
Epochs: TypeAlias = Annotated[_Auto | Annotated[int, Field(ge=1, le=50), Tag(NUMBER)], _IsAuto]
BatchSize: TypeAlias = Annotated[_Auto | Annotated[int, Field(ge=1, le=256), Tag(NUMBER)], _IsAuto]
Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Multiplier: TypeAlias = Annotated[_Auto | Annotated[Positive, Tag(NUMBER)], _IsAuto]
Beta: TypeAlias = Annotated[_Auto | Annotated[float, Field(gt=0, le=2), Tag(NUMBER)], _IsAuto]
Targets: TypeAlias = Annotated[
    Annotated[Literal["all-linear"], Tag(TEXT)] | Annotated[list[Text], Field(min_length=1), Tag(LIST)],
    Discriminator(text_or_list),
]


class Hyperparameters(WireRequest):
    n_epochs: Epochs = "auto"
    batch_size: BatchSize = "auto"
    learning_rate_multiplier: Multiplier = "auto"


class PreferenceHyperparameters(Hyperparameters):
    beta: Beta = "auto"


class Options(WireRequest):
    hyperparameters: Hyperparameters | None = None


class PreferenceOptions(WireRequest):
    hyperparameters: PreferenceHyperparameters | None = None


class WantedMethod(WireRequest):
    """A method, with its options under its own name."""

    type: Method
    supervised: Options | None = None
    dpo: PreferenceOptions | None = None
    kto: PreferenceOptions | None = None
    reward: Options | None = None
    embedding: Options | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> "WantedMethod":
        for name in self.model_fields_set - {"type", self.type}:
            if getattr(self, name) is not None:
                raise ValueError(f"its type is {self.type}, and its options are of {name}")
        return self

    @property
    def hyperparameters(self) -> Hyperparameters | None:
        options: Options | PreferenceOptions | None = getattr(self, self.type)
        return options.hyperparameters if options else None


class WantedLora(WireRequest):
    r: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: Annotated[int, Field(ge=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Targets = "all-linear"


class WandbSettings(WireRequest):
    project: Annotated[Text, Field(min_length=1)]
    name: Text | None = None
    entity: Text | None = None
    tags: list[Text] | None = None


class Wandb(WireRequest):
    type: Literal["wandb"]
    wandb: WandbSettings


class Tensorboard(WireRequest):
    """Writes what is measured into the job's own folder."""

    type: Literal["tensorboard"]


Integration: TypeAlias = Annotated[Wandb | Tensorboard, Field(discriminator="type")]


class CreateFineTuningJob(WireRequest):
    """`hyperparameters` is what OpenAI had before `method`. `lora` null tunes every weight."""

    model: Annotated[Text, Field(min_length=1)]
    training_file: Annotated[Text, Field(min_length=1)]
    validation_file: Annotated[Text, Field(min_length=1)] | None = None
    suffix: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] | None = None
    method: WantedMethod | None = None
    hyperparameters: Hyperparameters | None = None
    integrations: Annotated[list[Integration], Field(max_length=5)] | None = None
    metadata: Metadata | None = None

    quantization: Literal["nf4", "none"] = "nf4"
    lora: WantedLora | None = WantedLora()
    learning_rate: Positive | None = None
    max_length: Annotated[int, Field(ge=8)] | None = None
    packing: bool = False
    neftune_noise_alpha: Positive | None = None
    train_on: Literal["assistant", "all"] = "assistant"
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    negatives_from: Annotated[Text, Field(min_length=1)] | None = None
    sharding: Literal["auto", "full", "none"] = "auto"

    def wanted(self) -> WantedTuning:
        """Raises BadRequest where two fields do not go together."""
        return WantedTuning(
            model=self.model,
            training_file=self.training_file,
            validation_file=self.validation_file,
            suffix=self.suffix,
            tuning=self._tuning(),
            metadata=self.metadata,
            integrations=[one.model_dump(exclude_none=True) for one in self.integrations or ()],
        )

    def _tuning(self) -> Tuning:
        given = self.model_dump(include={*EXTRAS, "seed"}, exclude_unset=True)
        given["method"] = self.method.type if self.method else "supervised"
        if asked := self._hyperparameters():
            given["hyperparameters"] = asked.model_dump(exclude_unset=True)
        try:
            return Tuning.model_validate(given)
        except ValidationError as exc:
            said = exc.errors()[0]["msg"].removeprefix("Value error, ")
            # It begins with the parameter at fault, where that is one.
            first = said.partition(" ")[0]
            param = first if first in EXTRAS else "quantization"
            raise BadRequest(f"Invalid value for {param!r}: {said}.", param=param, code="invalid_value") from exc

    def _hyperparameters(self) -> Hyperparameters | None:
        newer = self.method.hyperparameters if self.method else None
        if newer is not None and self.hyperparameters is not None:
            raise BadRequest(
                "Give hyperparameters in 'method' or beside it, not in both places.",
                param="hyperparameters",
                code="invalid_value",
            )
        return newer or self.hyperparameters
