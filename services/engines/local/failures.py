"""What a failure in the local engine's threads means to whoever asked."""

import logging

from finetune.errors import FinetuneError
from prompts.errors import ChatFormatError
from services.errors import BadRequest, NotReady, ServiceError

log = logging.getLogger(__name__)

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def failure_of(exc: BaseException, model_id: str) -> BaseException:
    """Give the error for the caller; what nobody foresaw stays what it is."""
    if isinstance(exc, ServiceError):
        return exc
    if isinstance(exc, ChatFormatError):
        return BadRequest(str(exc), param="messages", code="chat_template")
    if isinstance(exc, FinetuneError):
        log.warning("model_failed model=%s error=%s", model_id, exc)
        return NotReady(str(exc), param="model", code="model_unavailable")
    if isinstance(exc, MemoryError) or (isinstance(exc, RuntimeError) and _names_memory(exc)):
        log.warning("model_failed model=%s error=out_of_memory", model_id)
        return NotReady(
            f"The model {model_id!r} and what it is to read do not fit into memory. Quantize it (nf4), lower "
            "LOAM_LOCAL_BASES, or send less at once.",
            param="model",
            code="out_of_memory",
        )
    return exc


def _names_memory(exc: RuntimeError) -> bool:
    said = str(exc).lower()
    return any(words in said for words in NO_MEMORY)
