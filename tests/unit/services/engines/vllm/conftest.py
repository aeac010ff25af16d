from collections.abc import Iterator
from pathlib import Path

import pytest

from services.engines.vllm.servers import VllmServers
from services.settings import ModelSettings, Settings
from tests.fakes.vllm_server import python_of


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """The folder of a scripted vLLM."""
    python_of(tmp_path / "fake")
    return tmp_path / "fake"


@pytest.fixture
def vllm_settings(settings: Settings, fake: Path) -> Settings:
    return settings.model_copy(update={"vllm_python": fake / "python", "upstream_timeout_s": 20.0})


@pytest.fixture
def servers(vllm_settings: Settings) -> Iterator[VllmServers]:
    servers = VllmServers(vllm_settings)
    yield servers
    servers.close()


@pytest.fixture
def model(tmp_path: Path) -> ModelSettings:
    """A declared model whose folder says what vLLM and loam look for."""
    weights = tmp_path / "weights"
    weights.mkdir()
    return ModelSettings(id="tiny", engine="vllm", source=str(weights), dtype="float32")
