"""The check that a tuned model is served over what it was made from, and asked as it was taught."""

import logging
from typing import TYPE_CHECKING

from finetune.adapter import Manifest, tokenizer_hash
from prompts.chat_format import template_hash, template_of
from prompts.errors import ChatFormatError
from services.errors import ServiceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


log = logging.getLogger(__name__)


class ModelMismatch(ServiceError):
    """A tuned model is no longer what its manifest says. Its answers would be of another model: it must be forced."""

    status = 400
    type = "invalid_request_error"


def check_passport(
    model_id: str,
    manifest: Manifest,
    *,
    base_sha256: str | None,
    tokenizer: "PreTrainedTokenizerBase",
    forced: bool = False,
) -> None:
    """Compare what is about to be served; `base_sha256` None for a model that was tuned whole.

    Raises ModelMismatch, unless it is `forced`: then it is logged.
    """
    found = {
        "base": (manifest.base_sha256, base_sha256 or manifest.base_sha256),
        "chat template": (manifest.template_sha256, _template_sha256(tokenizer)),
        "tokenizer": (manifest.tokenizer_sha256, tokenizer_hash(tokenizer)),
    }
    other = [name for name, (was, is_) in found.items() if was != is_]
    if other and forced:
        log.warning("model_mismatch_forced model=%s differs=%s", model_id, ",".join(other))
    elif other:
        raise ModelMismatch(
            f"The model {model_id!r} is not served: its {' and its '.join(other)} differ from those it was trained "
            f"with. Bring back what was there ({manifest.base!r}), or tune again; 'loam models serve --force' serves "
            "it nonetheless, as a model that nobody has measured.",
            param="model",
            code="model_mismatch",
        )


def _template_sha256(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    try:
        return template_hash(template_of(tokenizer))
    except ChatFormatError:
        return None
