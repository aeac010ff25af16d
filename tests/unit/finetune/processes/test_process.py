import pytest

from finetune.job import ALL_GPUS
from finetune.processes.process import _environment


@pytest.mark.parametrize(
    ("device", "visible", "seen", "called"),
    [
        ("cpu", None, None, "cpu"),
        ("cuda:1", None, "1", "cuda:0"),
        ("cuda:1", "4,6", "6", "cuda:0"),
        ("cuda:0", "GPU-8f", "GPU-8f", "cuda:0"),
    ],
)
def test_a_trainer_sees_its_own_gpu_only(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, seen: str | None, called: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    environment, name = _environment(device, {})
    assert (environment.get("CUDA_VISIBLE_DEVICES"), name) == (seen, called)
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_a_trainer_of_all_gpus_sees_them_all_and_leaves_no_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    environment, name = _environment(ALL_GPUS, {})
    assert (environment["CUDA_VISIBLE_DEVICES"], name) == ("4,6", ALL_GPUS)
    assert environment["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"


def test_a_trainer_sees_the_variables_of_its_job() -> None:
    environment, _ = _environment("cpu", {"WANDB_PROJECT": "kitchen"})
    assert environment["WANDB_PROJECT"] == "kitchen"
