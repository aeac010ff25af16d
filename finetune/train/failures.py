"""What a library's error means for a training: one sentence, and what can be done."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.errors import (
    FinetuneError,
    InvalidDataset,
    ModelUnavailable,
    TrainingFailed,
    UnreadableFile,
)
from prompts.errors import ChatFormatError

CODES: dict[type[Exception], str] = {
    InvalidDataset: "invalid_file",
    UnreadableFile: "invalid_file",
    ModelUnavailable: "unavailable_model",
}
NO_SPACE_BYTES = 16 << 20
"""With less than this free, a write that failed without saying why has failed for want of space."""

LOST_DEVICE = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "NCCL error", "device-side assert", "NVML")


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Raise what goes wrong within as TrainingFailed; `folder` is where is written."""
    try:
        yield
    except TrainingFailed:
        raise
    except Exception as exc:
        raise explain(exc, folder) from exc


def explain(exc: Exception, folder: Path) -> TrainingFailed:
    """Give the failure that an error is."""
    said = str(exc) or type(exc).__name__
    if isinstance(exc, FinetuneError):
        text = said.removesuffix(exc.hint).strip()
        return TrainingFailed(text, code=CODES.get(type(exc), "failed"), hint=exc.hint)
    if isinstance(exc, ChatFormatError):
        return TrainingFailed(said, code="no_chat_template" if "no chat template" in said else "chat_format")
    if _is_full_disk(exc, said, folder):
        return TrainingFailed(
            "The disk is full.",
            code="disk_full",
            hint="Free some and resume: the last checkpoint is whole. Or save less often with checkpoint_steps.",
        )
    if isinstance(exc, MemoryError) or "out of memory" in said or "can't allocate memory" in said:
        return TrainingFailed(
            f"The memory is not enough: {_line(said)}",
            code="out_of_memory",
            hint="Lower max_length or batch_size, take a smaller model, or quantization nf4.",
        )
    if any(mark in said for mark in LOST_DEVICE):
        return TrainingFailed(
            f"The GPU was lost: {_line(said)}",
            code="device_lost",
            hint="See that the driver answers (nvidia-smi), and resume: the last checkpoint is whole.",
        )
    return TrainingFailed(f"The training failed: {type(exc).__name__}: {_line(said)}")


def _is_full_disk(exc: Exception, said: str, folder: Path) -> bool:
    """torch and safetensors say "No space left", or only that a write failed."""
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if "No space left" in said or "StorageFull" in said or "os error 28" in said:
        return True
    return "write failed" in said and shutil.disk_usage(folder).free < NO_SPACE_BYTES


def _line(said: str) -> str:
    line = said.splitlines()[0].strip()
    return line if line.endswith(".") else f"{line}."
