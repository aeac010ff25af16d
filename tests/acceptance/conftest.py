from collections.abc import Iterator
from pathlib import Path

import pytest
from groq import Groq
from openai import OpenAI

from tests.acceptance.handbook import make_handbook
from tests.acceptance.serving import Server, serving
from tests.fakes.upstream import Upstream

HOSTED_SETTINGS = """
groq_api_key: gsk_of_the_operator
groq_base_url: {url}
upstream_retries: 1
circuit_failures: 0  # tests of failures must not stand in one another's way
rewrite_model: llama
models:
  - {{id: llama, engine: groq, source: llama-3.3-70b-versatile}}
  - {{id: hasty, engine: groq, source: llama-3.3-70b-versatile, timeout_s: 0.2}}
  - {{id: own, engine: openai, source: own-model, base_url: "{url}/own/v1"}}
  - {{id: nowhere, engine: openai, source: none, base_url: "http://127.0.0.1:1/v1"}}
aliases:
  gardener: {{model: extractive, vector_stores: [handbook]}}
  writer: {{model: llama, vector_stores: [handbook]}}
  own-writer: {{model: own, vector_stores: [handbook]}}
  lost: {{model: extractive, vector_stores: [no-such-store]}}
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with default settings, shared by all tests: each makes its own files and stores."""
    with serving(tmp_path_factory.mktemp("acceptance") / "home") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with server.client() as client:
        yield client


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="session")
def scripted() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def upstream(scripted: Upstream) -> Upstream:
    """The upstream of `hosted`, with nothing to say yet."""
    scripted.script()
    return scripted


@pytest.fixture(scope="session")
def hosted(scripted: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with hosted engines, all at the scripted upstream, and aliases over its store `handbook`."""
    home = tmp_path_factory.mktemp("hosted") / "home"
    home.mkdir()
    (home / "loam.yaml").write_text(HOSTED_SETTINGS.format(url=scripted.url))
    with serving(home) as server:
        yield server


@pytest.fixture
def hosted_client(hosted: Server) -> Iterator[OpenAI]:
    with hosted.client() as client:
        yield client


@pytest.fixture
def groq(hosted: Server) -> Iterator[Groq]:
    with Groq(base_url=hosted.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def handbook(hosted: Server) -> str:
    """The id of the store `handbook` of `hosted`, with two small files in it."""
    with hosted.client() as client:
        return make_handbook(client)


@pytest.fixture(scope="session")
def own_handbook(server: Server) -> str:
    """The same store at `server`."""
    with server.client() as client:
        return make_handbook(client)
