"""What a vLLM server is started with."""

import importlib.util
import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from services.errors import BadRequest
from services.settings import ModelSettings, Settings

HOST: Final = "127.0.0.1"
RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM has room of its own for (`MaxLoRARanks` in its config)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A server of one model: `folder` holds its weights, `rank` 0 is for a server that takes no adapters."""

    python: Path
    name: str
    folder: Path
    dtype: str
    rank: int
    adapters: int
    args: Sequence[str]

    def command(self, port: int) -> list[str]:
        """Give the command line; what the settings add comes last and wins."""
        lora = ["--enable-lora", "--max-lora-rank", str(self.rank)]
        lora += ["--max-loras", str(self.adapters), "--max-cpu-loras", str(self.adapters)]
        return [
            str(self.python), "-P", "-m", "vllm.entrypoints.openai.api_server",
            "--host", HOST, "--port", str(port),
            "--model", str(self.folder), "--served-model-name", self.name, "--dtype", self.dtype,
            "--trust-request-chat-template", "--disable-uvicorn-access-log",
            *(lora if self.rank else []),
            *self.args,
        ]  # fmt: skip

    def environment(self, key: SecretStr) -> Mapping[str, str]:
        # Not on the command line, which everybody on the machine can read.
        given = {"VLLM_API_KEY": key.get_secret_value(), "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        given["PATH"] = os.pathsep.join([str(self.python.parent), os.environ.get("PATH", "")])
        return {**given, **({"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if self.rank else {})}


def python_with_vllm(settings: Settings) -> Path:
    """Give the interpreter that has vLLM: the settings' own, or loam's. Raises BadRequest, which says what to do."""
    named = settings.vllm_python
    if named is not None and named.expanduser().is_file():
        # Not resolved: a virtual environment is known by the link that its interpreter is.
        return named.expanduser().absolute()
    if named is None and importlib.util.find_spec("vllm") is not None:
        return Path(sys.executable)
    missing = f"there is no {str(named)!r}" if named else "LOAM_VLLM_PYTHON is not set"
    raise BadRequest(
        f"No vLLM is set up: {missing}. Run 'make vllm' and set LOAM_VLLM_PYTHON to the "
        "bin/python of what it makes, or give the model the base_url of a vLLM server that runs.",
        param="model",
        code="engine_not_configured",
    )


def launch_of(model: ModelSettings, settings: Settings) -> Launch:
    """Give what a declared model's server is started with. Its weights are fetched if need be.

    Raises BadRequest, ModelUnavailable.
    """
    from finetune.model import Base
    from services.engines.local.wanted import WantedModel
    from services.engines.local.weights import find_weights
    from services.engines.vllm.tools import parsing_calls
    from services.models import directory_of

    python = python_with_vllm(settings)
    folder = directory_of(model.source)
    base = Base(source=str(folder) if folder else model.source)
    weights = find_weights(WantedModel(id=model.id, base=base, dtype=model.dtype))
    return Launch(
        python=python,
        name=model.id,
        folder=weights.folder,
        dtype=weights.dtype,
        rank=next((rank for rank in RANKS if rank >= settings.vllm_lora_rank), RANKS[-1])
        if settings.vllm_lora_rank
        else 0,
        adapters=settings.vllm_adapters,
        args=(*parsing_calls(weights.folder), *settings.vllm_args, *(model.args or ())),
    )


def new_key() -> SecretStr:
    return SecretStr(secrets.token_urlsafe(32))


def free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])
