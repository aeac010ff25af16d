"""Questions whose answer shares no word with them: found over what passages name, where a store has a graph."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types import VectorStore

from tests.acceptance.serving import serving
from tests.acceptance.shell import Shell
from tests.fakes.upstream import Upstream, completion

pytestmark = pytest.mark.acceptance

QUESTION = "Where was the founder of Harrow Mills raised?"
FIRM = "Harrow Mills was founded by Ottilie Brandt in 1911. The firm makes paper and employs forty people.\n"
ANSWER = "As a child Ottilie Brandt lived above a bakery in Stavering with four brothers.\n"
PATH = ["Harrow Mills", "was founded by", "Ottilie Brandt"]
SURNAMES = ["Adler", "Bloom", "Cole", "Dane", "Eames", "Frost", "Gale", "Hurst", "Ives", "Judd", "Kerr", "Lamb"]


def documents() -> dict[str, str]:
    """The two that are wanted, among others on founders and where they were raised."""
    others = {
        f"{name.lower()}.txt": f"{name} Mills was founded by Petra {name}, who was raised in the parish of {name}ton.\n"
        for name in SURNAMES
    }
    return {"firm.txt": FIRM, "childhood.txt": ANSWER} | others


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, text in documents().items():
        (folder / name).write_text(text)
    return folder


def filenames(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["filename"] for hit in hits]


def test_a_store_gets_a_graph_and_finds_what_the_question_does_not_name(home: Path, folder: Path) -> None:
    shell = Shell(home)
    shell.run("ingest", folder, "--store", "firms")
    before = shell.json("search", QUESTION, "--store", "firms")
    assert "childhood.txt" not in filenames(before)
    assert {hit["graph_path"] for hit in before} == {None}

    changed = shell.json("stores", "update", "firms", "--graph", "on")
    assert (changed["changed"], changed["generation"]["graph"]) == (True, True)
    hits = shell.json("search", QUESTION, "--store", "firms")
    assert hits[0]["filename"] == "firm.txt"
    assert "childhood.txt" in filenames(hits[:3])
    assert next(hit["graph_path"] for hit in hits if hit["filename"] == "childhood.txt") == PATH
    assert "Harrow Mills → was founded by → Ottilie Brandt" in shell.run("search", QUESTION, "--store", "firms").stdout
    assert shell.json("index", "verify", "--store", "firms")

    assert "already" in shell.run("stores", "update", "firms", "--graph", "on").stdout
    shell.run("stores", "update", "firms", "--graph", "off")
    assert filenames(shell.json("search", QUESTION, "--store", "firms")) == filenames(before)


def test_a_graph_is_asked_for_over_http_and_drawn_by_a_model(home: Path, scripted: Upstream) -> None:
    # Of both lines each passage keeps what it says itself: the one, the other, or none.
    lines = [
        ["Harrow Mills", "organisation", "was begun by", "Ottilie Brandt"],
        ["Ottilie Brandt", "person", "lived in", "Stavering"],
    ]
    written = "\n".join([*map(json.dumps, lines), "That is all."])
    scripted.script(*[completion(written)] * len(documents()))
    models = [{"id": "own", "engine": "openai", "source": "m", "base_url": f"{scripted.url}/own/v1"}]
    with serving(home, models=json.dumps(models), graph_model="own") as server, server.client() as client:
        store = client.vector_stores.create(name="firms", extra_body={"graph": True})
        files = [(name, text.encode()) for name, text in documents().items()]
        client.vector_stores.file_batches.upload_and_poll(store.id, files=files)
        assert len(scripted.received) == len(documents())

        hits = [hit.to_dict() for hit in client.vector_stores.search(store.id, query=QUESTION).data]
        paths = {hit["filename"]: hit["graph_path"] for hit in hits[:3]}
        assert paths["childhood.txt"] == ["Harrow Mills", "was begun by", "Ottilie Brandt"]

        scripted.script()
        off = client.vector_stores.update(store.id, extra_body={"graph": False})
        assert [one["graph"] for one in off.to_dict()["generations"]] == [True, False]  # type: ignore[union-attr]
        live_without(client, store)
        assert scripted.received == []


def live_without(client: OpenAI, store: VectorStore) -> None:
    """Wait until a store is searched without a graph."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        generations: Any = client.vector_stores.retrieve(store.id).to_dict()["generations"]
        if any(one["state"] == "live" and not one["graph"] for one in generations):
            return
        time.sleep(0.1)
    raise AssertionError("the generation without a graph did not become live")
