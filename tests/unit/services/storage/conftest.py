import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Each of the databases in turn: what is stored behaves alike in both."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
