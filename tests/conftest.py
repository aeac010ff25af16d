import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from services.jobs import tasks, training, worker
from services.settings import Settings
from services.storage.database import Database
from services.storage.projects import ensure_default_project
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.postgres import PostgresServer, running_postgres

# A deadline would be a wall-clock assertion.
hypothesis.settings.register_profile("loam", deadline=None)
hypothesis.settings.load_profile("loam")

# No model of these tests is compiled, but bitsandbytes has every process of a training load torch's compiler, for two
# seconds, and vLLM would have it compile how tokens are ranked, for half a minute.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The public data sets beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the public data sets in ../shared/data")
    return SHARED_DATA


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", action="store_true", help="Give every test PostgreSQL where it would have SQLite.")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL with pgvector; its first use takes some seconds."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """A migrated database with the default project, for one test alone."""
    url = postgres_server.create_migrated(tmp_path / "migrate.lock")
    yield url
    postgres_server.drop(url)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """The URL of the test's database; None is for SQLite in its home."""
    return str(request.getfixturevalue("postgres_url")) if request.config.getoption("--postgres") else None


@pytest.fixture
def settings(home: Path, database_url: str | None) -> Settings:
    return Settings(home=home, database_url=database_url)


@pytest.fixture
def database(home: Path, settings: Settings) -> Iterator[Database]:
    """A migrated database with the default project."""
    home.mkdir()
    database = Database(settings.database)
    database.migrate(home / "migrate.lock")
    ensure_default_project(database)
    yield database
    database.close()


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """All parts over a new home, with an embedder that needs no model."""
    services = open_services(settings)
    services.embedder = WordEmbedder()
    yield services
    services.close()


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that look for work, and try again, at once."""
    monkeypatch.setattr(tasks, "BACKOFF_S", 0.0)
    monkeypatch.setattr(training, "TICK_S", 0.02)
    monkeypatch.setattr(worker, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(worker, "POLL_S", 0.02)
