"""What a recipe may ask of an embedding tuning, and what is settled where it asks nothing."""

import pytest
from pydantic import ValidationError

from finetune.config import Tuning, settle


def test_an_embedder_is_tuned_whole_unless_asked_otherwise() -> None:
    settings = settle(Tuning(method="embedding"), examples=900, longest_input=256)
    assert (settings.lora, settings.quantization) == (None, "none")
    assert (settings.batch_size, settings.n_epochs, settings.max_length) == (16, 3, 256)


@pytest.mark.parametrize(
    "asked",
    [{"lora": {"r": 4}}, {"quantization": "nf4"}, {"packing": True}, {"train_on": "all"}, {"neftune_noise_alpha": 5}],
)
def test_what_an_embedder_has_no_use_for_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Tuning.model_validate({"method": "embedding", **asked})


def test_other_methods_keep_their_defaults() -> None:
    assert Tuning(method="dpo").lora is not None
    assert Tuning().quantization == "nf4"
