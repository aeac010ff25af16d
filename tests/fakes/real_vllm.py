"""The real vLLM, where `make vllm` has put it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def real_vllm() -> Path:
    """Give the python that has vLLM; without it the test is skipped, with the reason."""
    python = ROOT / os.environ.get("VLLM_VENV", ".venv-vllm") / "bin" / "python"
    if not python.exists():
        pytest.skip("needs vLLM in an environment of its own: make vllm")
    return python
