"""A store's index changed, checked, damaged, mended and brought back, as a user does it, with and without a server."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import BadRequestError, OpenAI

from tests.acceptance.serving import Server, serving
from tests.acceptance.shell import Shell

pytestmark = pytest.mark.acceptance

SECTIONS = 20
LIVE_VECTOR = """
    SELECT vectors.key, vector FROM vectors JOIN windows ON vector_key = vectors.key
    JOIN chunks ON chunks.id = chunk_id JOIN generations ON generations.id = generation_id WHERE state = 'live'
"""
QUESTION = "How many days of leave do employees have?"


def handbook(folder: Path) -> Path:
    folder.mkdir()
    (folder / "leave.md").write_text("# Leave\n\nEmployees have thirty days of leave a year.\n")
    rules = (
        f"## Rule {number}\n\nRule {number} says that room {number} is swept at dawn. " for number in range(SECTIONS)
    )
    (folder / "rules.md").write_text("# Rules\n\n" + "\n\n".join(rule + "It is so every day. " * 8 for rule in rules))
    return folder


@pytest.fixture
def shell(home: Path, tmp_path: Path) -> Shell:
    shell = Shell(home)
    shell.run("ingest", handbook(tmp_path / "handbook"), "--store", "handbook")
    return shell


def first(shell: Shell) -> tuple[str, str]:
    hit = shell.json("search", QUESTION, "--store", "handbook")[0]
    return hit["filename"], hit["text"]


def chunks(shell: Shell) -> int:
    return int(shell.json("stores", "show", "handbook")["chunks"])


def test_an_index_is_changed_verified_damaged_repaired_and_rolled_back(shell: Shell) -> None:
    before, coarse = first(shell), chunks(shell)
    assert "days of leave" in before[1]
    assert "no generation to go back to" in shell.run("index", "rollback", "--store", "handbook", code=1).stderr
    assert "Choose 100 to 4096" in shell.run("stores", "update", "handbook", "--chunk-tokens", 7, code=1).stderr

    changed = shell.json("stores", "update", "handbook", "--chunk-tokens", 100, "--overlap", 10)
    assert (changed["changed"], changed["generation"]["state"], changed["generation"]["chunk_tokens"]) == (
        True,
        "live",
        100,
    )
    assert (first(shell), chunks(shell) > coarse) == (before, True)
    assert "already" in shell.run("stores", "update", "handbook", "--chunk-tokens", 100).stdout
    assert "agree" in shell.run("index", "verify", "--store", "handbook").stdout

    with sqlite3.connect(shell.home / "loam.db") as database:
        key, vector = database.execute(LIVE_VECTOR).fetchone()
        flipped = bytes([vector[0] ^ 4]) + vector[1:]
        database.execute("UPDATE vectors SET vector = ? WHERE key = ?", (flipped, key))
    database.close()
    for path in shell.home.glob("indexes/*/*/*/text/*.idx"):
        path.write_bytes(b"\xff" + path.read_bytes()[1:])
    said = shell.run("index", "verify", "--store", "handbook", code=1).stdout
    assert "checksum is wrong" in said
    assert "the file is damaged" in said
    repaired = shell.json("index", "repair", "--store", "handbook")
    assert (len(repaired["mended"]) >= 2, repaired["problems"]) == (True, [])
    shell.run("index", "verify", "--store", "handbook")
    shell.run("index", "rebuild", "--store", "handbook")

    back = shell.json("index", "rollback", "--store", "handbook")
    assert (back["id"], back["state"], chunks(shell), first(shell)) == (1, "live", coarse, before)
    shell.run("index", "verify", "--store", "handbook")


@pytest.fixture
def serving_it(shell: Shell) -> Iterator[Server]:
    with serving(shell.home) as server:
        yield server


def test_a_server_answers_all_the_while_and_from_one_generation_at_a_time(shell: Shell, serving_it: Server) -> None:
    done = threading.Event()
    answers: list[set[str]] = []
    with serving_it.client() as client:
        store = client.vector_stores.list().data[0].id
        for path, said in (("cancel", "No index of the vector store"), ("rollback", "no generation to go back to")):
            with pytest.raises(BadRequestError, match=said):
                client.post(f"/vector_stores/{store}/index/{path}", cast_to=object)

        def ask() -> None:
            while not done.is_set():
                hits = client.vector_stores.search(store, query=QUESTION, max_num_results=50)
                answers.append({hit.chunk_id for hit in hits})  # type: ignore[attr-defined]

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        updated = made(client, store, {"chunking_strategy": {"type": "static", "static": sizes(120)}})
        shell.run("stores", "update", "handbook", "--chunk-tokens", 100)
        client.post(f"/vector_stores/{store}/index/rollback", cast_to=object)
        rolled_back = ended(client, store)
        done.set()
        for thread in asking:
            thread.join()
        assert [one["state"] for one in updated] == ["retired", "live"]
        assert [one["state"] for one in rolled_back] == ["live", "retired"]
        answered_by = {generation_of(shell, chunk_id) for chunk_ids in answers for chunk_id in chunk_ids}
        assert len(answered_by) >= 2
        assert all(len({generation_of(shell, chunk_id) for chunk_id in chunk_ids}) == 1 for chunk_ids in answers)


def sizes(tokens: int) -> dict[str, int]:
    return {"max_chunk_size_tokens": tokens, "chunk_overlap_tokens": 0}


def made(client: OpenAI, store: str, body: dict[str, object]) -> list[dict[str, str]]:
    client.vector_stores.update(store, extra_body=body)
    return ended(client, store)


def ended(client: OpenAI, store: str) -> list[dict[str, str]]:
    """Give a store's generations once none is being made."""
    while True:
        found = client.vector_stores.retrieve(store).generations  # type: ignore[attr-defined]
        if not {one["state"] for one in found} & {"building", "ready"}:
            return list(found)
        time.sleep(0.1)


_GENERATIONS: dict[str, int] = {}


def generation_of(shell: Shell, chunk_id: str) -> int:
    """Chunks of generations that are not kept are gone: those are all of one that was live before."""
    if not _GENERATIONS:
        with sqlite3.connect(shell.home / "loam.db") as database:
            found = database.execute("SELECT 'chunk_' || id, generation_id FROM chunks").fetchall()
        database.close()
        _GENERATIONS.update(found)
    return _GENERATIONS.get(chunk_id, 0)
