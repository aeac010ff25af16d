"""A home of an older loam is searchable after its migration, with what it had embedded and nothing embedded again."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rag.ingest import vector_key
from services.settings import Settings
from services.storage.database import MIGRATIONS, Database
from services.storage.generations import live_generation
from services.storage.migrate import run_migrations
from services.storage.tables import DEFAULT_PROJECT
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.indexed import (
    SMALL,
    begin,
    cosines,
    ingest,
    live,
    problems,
    row_of,
    update,
    vectors_are_all_used,
    write,
)

TEXT = "# Pipes\n\ncopper pipes in old houses\n\n# Ships\n\nwooden ships on deep water"
CUTS = [(0, 35, ["Pipes"]), (37, len(TEXT), ["Ships"])]
# Higher than those that are there: chunks had these ids and were removed.
LAST_CHUNK_ID = 90


class Counting(WordEmbedder):
    """Knows queries of one word only."""

    def embed(self, texts: list[str]) -> "np.ndarray":  # type: ignore[override]
        assert all(len(text.split()) == 1 for text in texts), f"embedded again: {texts}"
        return super().embed(texts)


def make_old(home: Path) -> None:
    """Write a home as schema 0003 had it: a store of one document in two chunks, and an empty store."""
    home.mkdir()
    database = Database(f"sqlite:///{home / 'loam.db'}")
    with database.engine.connect().execution_options(loam_write=True) as connection, connection.begin():
        run_migrations(connection, MIGRATIONS, "0003")
    database.close()
    with sqlite3.connect(home / "loam.db") as old:
        fill_old(old)
    old.close()


def fill_old(old: sqlite3.Connection) -> None:
    old.execute("INSERT INTO projects VALUES ('default', 1)")
    store = "INSERT INTO vector_stores (id, project_id, name, embedder, revision, metadata, created_at, last_active_at)"
    old.execute(f"{store} VALUES ('vs_1', 'default', 'docs', 'words', 7, '{{}}', 5, 5)")
    old.execute(f"{store} VALUES ('vs_2', 'default', 'empty', 'words', 0, '{{}}', 6, 6)")
    old.execute(
        "INSERT INTO files (id, project_id, filename, purpose, size_bytes, sha256, created_at) "
        "VALUES ('file-1', 'default', 'things.md', 'assistants', 9, 'ab', 5)"
    )
    old.execute(
        "INSERT INTO documents (project_id, store_id, source, file_id, filename, status, usage_bytes, chunked_sha256, "
        "created_at) VALUES ('default', 'vs_1', 'file-1', 'file-1', 'things.md', 'completed', 123, 'ab', 5)"
    )
    old.execute("INSERT INTO document_texts VALUES (1, 'default', 'text/markdown', 'Pipes', ?, '[]')", (TEXT,))
    embedder = WordEmbedder()
    for ordinal, (start, end, path) in enumerate(CUTS):
        text, chunk_id = TEXT[start:end], ordinal + 41
        key, vector = vector_key(embedder.id, text), embedder.embed([text])[0].astype("<f4").tobytes()
        old.execute(
            "INSERT INTO chunks VALUES (?, 'default', 'vs_1', 1, ?, ?, ?, ?, 5, NULL, ?)",
            (chunk_id, ordinal, text, start, end, str(path).replace("'", '"')),
        )
        old.execute("INSERT INTO windows VALUES (?, 0, 'default', ?, ?, ?)", (chunk_id, start, end, key))
        old.execute("INSERT INTO vectors VALUES ('default', ?, ?)", (key, vector))
    old.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'chunks'", (LAST_CHUNK_ID,))


@pytest.fixture
def migrated(home: Path) -> Iterator[Services]:
    make_old(home)
    services = open_services(Settings(home=home))
    services.embedder = Counting()
    yield services
    services.close()


def test_it_is_searched_as_before_and_nothing_is_embedded_again(migrated: Services) -> None:
    hits = migrated.searching.search(DEFAULT_PROJECT, ["vs_1"], "copper")
    assert [(hit.passage.chunk_id, hit.passage.heading_path) for hit in hits] == [(41, ("Pipes",)), (42, ("Ships",))]
    assert (problems(migrated, "docs"), vectors_are_all_used(migrated)) == ([], True)
    with migrated.database.read() as session:
        empty = live_generation(session, "vs_2")
    assert (live(migrated, "docs").embedder, empty.turn, row_of(migrated, "empty").created_at) == ("words", 1, 6)


def test_ids_of_chunks_that_have_gone_are_not_used_again(migrated: Services) -> None:
    migrated.embedder = WordEmbedder()
    update(migrated, "docs", chunking=SMALL)
    hits = migrated.searching.search(DEFAULT_PROJECT, ["vs_1"], "copper")
    assert min(hit.passage.chunk_id for hit in hits) > LAST_CHUNK_ID


def test_it_is_searched_without_sentences_until_it_is_made_anew_as_it_was(migrated: Services, tmp_path: Path) -> None:
    """A passage that comes meanwhile has vectors of its sentences, and shall not pass those that have none."""
    migrated.embedder = WordEmbedder()
    write(tmp_path / "new", "new.txt", "copper kettles")
    ingest(migrated, "vs_1", tmp_path / "new")
    assert sentence_cosines(migrated) == {"things.md": None, "new.txt": None}
    update(migrated, "docs", embedder="words")
    assert None not in sentence_cosines(migrated).values()
    assert begin(migrated, "docs", embedder="words") is None


def sentence_cosines(services: Services) -> dict[str, float | None]:
    hits = services.searching.search(DEFAULT_PROJECT, ["vs_1"], "copper")
    return {hit.passage.filename: hit.sentence_cosine for hit in hits}


def test_headings_that_were_not_kept_are_found_again(migrated: Services) -> None:
    migrated.embedder = WordEmbedder()
    update(migrated, "docs", chunking=SMALL)
    hits = migrated.searching.search(DEFAULT_PROJECT, ["vs_1"], "copper ships")
    assert {title for hit in hits for title in hit.passage.heading_path} <= {"Pipes", "Ships"}
    assert hits[0].passage.heading_path
    assert set(cosines(migrated, "vs_1")) == {"things.md"}
