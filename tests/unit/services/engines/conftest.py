import pytest

from prompts import Templates


@pytest.fixture
def templates() -> Templates:
    return Templates()
