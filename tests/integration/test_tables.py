"""A row deep in a long table is found by the name of its column, though that stands far above it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.types import Hit
from services.settings import Settings
from services.storage.generations import live_generation
from services.storage.tables import DEFAULT_PROJECT
from services.storage.vector_stores import create_store
from services.verifying import check_store
from services.wiring import Services, open_services
from tests.fakes.indexed import ingest, write

TOWNS = 300
QUESTION = "What is the altitude of Town240?"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """With the embedder that there is by default: a fake knows nothing of word pieces."""
    services = open_services(Settings(home=tmp_path_factory.mktemp("tables") / "home"))
    yield services
    services.close()


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("docs") / "docs"


@pytest.fixture(scope="module")
def store(services: Services, docs: Path) -> str:
    """Two tables of the same towns: the numbers of one are altitudes, those of the other rainfall."""
    with services.database.write() as session:
        made = create_store(session, DEFAULT_PROJECT, name="towns", embedder=services.settings.embedder).id
    for name, columns, factor in (("a.csv", "town,altitude in metres", 7), ("b.csv", "town,annual rainfall", 3)):
        rows = "".join(f"Town{number},{number * factor}\n" for number in range(TOWNS))
        write(docs, name, f"{columns}\n{rows}")
    ingest(services, made, docs)
    return made


def best(services: Services, store: str, question: str) -> Hit:
    return services.searching.search(DEFAULT_PROJECT, [store], question)[0]


def test_row_is_found_by_the_name_of_its_column(services: Services, store: str) -> None:
    rain = best(services, store, "How much annual rainfall has Town240?")
    assert "Town240,1680" in best(services, store, QUESTION).passage.text
    assert "Town240,720" in rain.passage.text


def test_passage_is_the_file_s_own_text_and_names_its_columns_beside_it(
    services: Services, store: str, docs: Path
) -> None:
    passage = best(services, store, QUESTION).passage
    assert passage.heading_path == ("town | altitude in metres",)
    assert passage.text == (docs / "a.csv").read_text()[passage.start : passage.end]
    assert "altitude" not in passage.text


def test_index_with_columns_in_its_vectors_is_whole(services: Services, store: str) -> None:
    with services.database.read() as session:
        generation = live_generation(session, store)
    problems = check_store(services.database, services.indexes, generation, services.embedder)
    assert [problem.says for problem in problems] == []
