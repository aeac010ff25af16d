"""The one door to a model's weights, for tuning and for serving alike: what was trained over is what is served.

Weights come from a directory or the hub, in the checkpoint's own dtype, as they are or as NF4 with double
quantization (QLoRA, arXiv 2305.14314). `kernels` is never asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config import Quantization
from finetune.errors import ModelUnavailable, sentence_of

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model that is tuned: `source` is a directory or a hub id, at `revision`.

    `adapter` is the folder of a LoRA adapter to go on from, if the model is a tuned one.
    """

    source: str
    revision: str | None = None
    adapter: Path | None = None


def load_model(
    base: Base, *, quantization: Quantization, device: str, dtype: "torch.dtype | None" = None, reward: bool = False
) -> "PreTrainedModel":
    """Load the weights of a base, without its adapter, in evaluation mode. Raises ModelUnavailable.

    `device` is torch's name of it (`cpu`, `cuda:0`); `dtype` None takes the checkpoint's own, in which quantized
    weights then compute. With `reward` the head gives one number for a text; in a base that has none it is random.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    try:
        config = AutoConfig.from_pretrained(base.source, revision=base.revision)
        dtype = dtype or _own_dtype(config)
        options: dict[str, Any] = {"quantization_config": nf4(dtype)} if quantization == "nf4" else {}
        kind = AutoModelForCausalLM
        if reward:
            kind, options["num_labels"] = AutoModelForSequenceClassification, 1
        model = kind.from_pretrained(
            base.source, revision=base.revision, dtype=dtype, device_map={"": device}, use_safetensors=True, **options
        )
    except (OSError, ValueError, KeyError) as exc:
        raise ModelUnavailable(
            f"The model {base.source!r} cannot be loaded: {sentence_of(exc)}",
            hint="Give a directory with the model's files, or a hub id that can be reached or is in the cache.",
        ) from exc
    _compute_alike(model)
    return model.eval()


def _compute_alike(model: Any) -> None:
    """Let quantized layers compute in evaluation as they do in training.

    On CPUs with AVX512-BF16 bitsandbytes 0.50 packs their weights at the first evaluation, for a kernel of its own:
    another result than training's, and one through which no gradient flows if training goes on.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def nf4(compute_dtype: "torch.dtype") -> "BitsAndBytesConfig":
    """NF4 with double quantization, computing in `compute_dtype`."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def best_device() -> str:
    """The first GPU, else the CPU."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _own_dtype(config: Any) -> "torch.dtype":
    import torch

    found = config.get_text_config().dtype
    return found if isinstance(found, torch.dtype) else torch.float32
