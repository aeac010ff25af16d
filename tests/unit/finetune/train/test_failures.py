import errno
from pathlib import Path

import pytest

from finetune.errors import ModelUnavailable, TrainingFailed, UnreadableFile
from finetune.train.failures import explain, explained
from prompts.errors import ChatFormatError


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", "The disk is full."),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk_full", None),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nmore"), "out_of_memory", None),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"), "out_of_memory", None),
        (MemoryError(), "out_of_memory", "The memory is not enough: MemoryError."),
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with..."), "device_lost", None),
        (
            RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasLtMatmul`"),
            "device_lost",
            "The GPU was lost: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasLtMatmul`.",
        ),
        (ChatFormatError("The model 'm' has no chat template. Do this."), "no_chat_template", None),
        (ChatFormatError("The chat template refuses the conversation: no."), "chat_format", None),
        (ModelUnavailable("There is none.", hint="Give one."), "unavailable_model", "There is none."),
        (UnreadableFile("There is none.", hint="Give one."), "invalid_file", "There is none."),
        (KeyError("x"), "failed", "The training failed: KeyError: 'x'."),
    ],
)
def test_an_error_is_told_by_what_it_means(tmp_path: Path, error: Exception, code: str, text: str | None) -> None:
    failed = explain(error, tmp_path)
    assert failed.code == code
    assert text is None or failed.text == text
    assert failed.hint or code in ("failed", "no_chat_template", "chat_format")


def test_a_write_that_fails_without_a_reason_is_for_want_of_space_if_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    assert explain(error, tmp_path).code == "failed"
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0})())
    assert explain(error, tmp_path).code == "disk_full"


def test_a_hint_is_said_once(tmp_path: Path) -> None:
    failed = explain(ModelUnavailable("There is none.", hint="Give one."), tmp_path)
    assert str(failed) == "There is none. Give one."


def test_what_was_explained_is_not_explained_again(tmp_path: Path) -> None:
    first = TrainingFailed("So it is.", code="busy")
    with pytest.raises(TrainingFailed) as caught, explained(tmp_path):
        raise first
    assert caught.value is first
