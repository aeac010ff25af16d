"""Chunks that follow each other in a document are read by an engine, and cited, as one text."""

import asyncio
from pathlib import Path

from services.answering import FileSearch, in_worker, prepare
from services.storage.tables import DEFAULT_PROJECT
from services.storage.vector_stores import create_store
from services.wiring import Services
from tests.fakes.indexed import SMALL, ingest, write

PARAGRAPHS = [f"Rule {number} of the pump house: " + f"valve {number} stays shut at night. " * 9 for number in range(6)]
TEXT = " \n\n\n".join(PARAGRAPHS)


def test_the_source_is_the_text_of_the_document_from_its_first_chunk_to_its_last(
    services: Services, tmp_path: Path
) -> None:
    with services.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="rules", embedder="words").id
    write(tmp_path / "docs", "rules.txt", TEXT)
    ingest(services, store, tmp_path / "docs", SMALL)
    asked = [{"role": "user", "content": "Does valve 3 of the pump house stay shut at night?"}]
    found = services.searching.search(DEFAULT_PROJECT, [store], asked[0]["content"])
    assert len(found) > 1

    def work() -> str:
        search = FileSearch(store_ids=(store,))
        turn = prepare(services, DEFAULT_PROJECT, model="extractive", messages=asked, params={}, file_search=search)
        assert turn.grounding is not None
        [source] = turn.grounding.sources
        assert len(source.passage.parts) == len(found)
        return source.passage.text

    assert asyncio.run(in_worker(work)) == TEXT.strip()
