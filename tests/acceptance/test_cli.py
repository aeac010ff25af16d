"""The command line as a user starts it: real processes over a home, with no server."""

import json
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.acceptance.shell import LOAM, Shell

LEAVE = "# Leave\n\nEmployees have thirty days of leave a year.\n\n# Travel\n\nTrains are booked by the front desk.\n"
QUESTION = "How many days of leave do employees have?"

pytestmark = pytest.mark.acceptance


@pytest.fixture
def shell(home: Path) -> Shell:
    return Shell(home)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "leave.md").write_text(LEAVE)
    (folder / "empty.md").write_text("")
    return folder


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home whose store `handbook` has been read; tests here only ask it."""
    root = tmp_path_factory.mktemp("read")
    (root / "leave.md").write_text(LEAVE)
    shell = Shell(root / "home")
    shell.run("ingest", root / "leave.md", "--store", "handbook")
    return shell


def test_an_answer_quotes_its_file_to_the_letter(read: Shell) -> None:
    answer = read.json("ask", QUESTION, "--store", "handbook")
    citation = answer["citations"][0]
    assert answer["answered"]
    assert (citation["index"], citation["filename"]) == (1, "leave.md")
    assert LEAVE[citation["source_start"] : citation["source_end"]] == citation["quote"]


def test_an_answer_for_people_ends_in_its_citations(read: Shell) -> None:
    lines = read.run("ask", QUESTION, "--store", "handbook").stdout.splitlines()
    assert lines[0] == "Employees have thirty days of leave a year. [1]"
    assert lines[-1] == '[1] leave.md: "Employees have thirty days of leave a year."'


def test_abstaining_is_a_success_without_citations(read: Shell) -> None:
    answer = read.json("ask", "Who won the chess world championship in 1972?", "--store", "handbook")
    assert (answer["answered"], answer["citations"]) == (False, [])


def test_search_gives_passages_with_their_scores(read: Shell) -> None:
    hits = read.json("search", "booking a train", "--store", "handbook", "-n", "1")
    assert [hit["rank"] for hit in hits] == [1]
    assert "Trains are booked by the front desk." in hits[0]["text"]
    assert 0 < hits[0]["score"] <= 1


def test_a_chat_answers_each_line_and_ends_with_its_input(read: Shell) -> None:
    ran = read.run("chat", "--store", "handbook", stdin=f"{QUESTION}\n\nWho books the trains for the employees?\n")
    assert "thirty days of leave" in ran.stdout
    assert "Trains are booked by the front desk. [1]" in ran.stdout


def test_ingest_goes_on_after_a_bad_file_and_names_it(shell: Shell, folder: Path) -> None:
    summary = shell.json("ingest", folder, "--store", "handbook")
    assert summary["files"] == {"new": 1, "unchanged": 0, "replaced": 0, "failed": 1}
    assert [failure["filename"] for failure in summary["failures"]] == ["empty.md"]
    assert "empty" in summary["failures"][0]["reason"]


def test_strict_ingest_fails_when_a_file_does(shell: Shell, folder: Path) -> None:
    assert "empty.md" in shell.run("ingest", folder, "--store", "handbook", "--strict", code=1).stderr


def test_ingest_reads_again_only_what_has_changed(shell: Shell, folder: Path) -> None:
    (folder / "empty.md").write_text("# Dogs\n\nDogs are welcome on Fridays.\n")
    shell.run("ingest", folder, "--store", "handbook")
    (folder / "empty.md").write_text("# Dogs\n\nDogs are welcome on Mondays.\n")
    again = shell.json("ingest", folder, "--store", "handbook")
    assert again["files"] == {"new": 0, "unchanged": 1, "replaced": 1, "failed": 0}
    hits = shell.json("search", "dogs", "--store", "handbook")
    assert not any("Fridays" in hit["text"] for hit in hits)


def test_stores_and_files_are_listed_shown_and_deleted(shell: Shell, folder: Path) -> None:
    shell.run("ingest", folder, "--store", "handbook")
    assert [store["documents"]["completed"] for store in shell.json("stores", "list")] == [1]
    shown = shell.json("stores", "show", "handbook")
    assert {file["filename"]: file["status"] for file in shown["files"]} == {
        "leave.md": "completed",
        "empty.md": "failed",
    }
    for file in shell.json("files", "list"):
        assert shell.json("files", "show", file["id"])["vector_stores"][0]["store_id"] == shown["id"]
        shell.run("files", "delete", file["id"])
    assert shell.json("search", "leave", "--store", "handbook") == []
    shell.run("stores", "delete", "handbook", "--yes")
    assert shell.json("stores", "list") == []


def test_a_key_is_shown_once_and_can_be_revoked(shell: Shell) -> None:
    made = shell.json("keys", "create", "--name", "laptop")
    listed = shell.json("keys", "list")
    assert made["key"].startswith(listed[0]["prefix"])
    assert made["key"] not in json.dumps(listed)
    assert not any(made["key"].encode() in path.read_bytes() for path in shell.home.rglob("*") if path.is_file())
    shell.run("keys", "revoke", made["id"])
    assert shell.json("keys", "list")[0]["revoked_at"] is not None


def test_models_can_be_added_under_a_name_that_is_free(shell: Shell) -> None:
    add = ("--engine", "groq", "--source", "llama-3.3-70b-versatile")
    shell.run("models", "add", "llama", *add)
    assert "llama" in {model["id"] for model in shell.json("models", "list")}
    assert "already" in shell.run("models", "add", "llama", *add, code=1).stderr
    assert "taken" in shell.run("models", "add", "extractive", *add, code=1).stderr


def test_doctor_finds_a_healthy_home_healthy(shell: Shell) -> None:
    report = shell.json("doctor")
    assert report["healthy"]
    assert {"python", "home", "database", "embedder", "exposure", "engines"} <= {
        one["name"] for one in report["findings"]
    }


def test_doctor_fails_where_the_database_is_damaged(shell: Shell) -> None:
    shell.run("stores", "list")
    (shell.home / "loam.db").write_bytes(b"not a database" * 1000)
    assert "✗ database" in shell.run("doctor", code=1).stdout


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["ask"],
        ["ingest", "no-such-path", "--store", "s"],
        ["ingest", "."],
        ["search", "x", "--store", "s", "-n", "0"],
    ],
)
def test_misuse_is_2_and_says_how_to_use_it(shell: Shell, words: Sequence[str]) -> None:
    assert "Usage: loam" in shell.run(*words, code=2).stderr


def test_a_store_that_is_not_there_is_named(shell: Shell) -> None:
    assert "no vector store 'nowhere'" in shell.run("ask", QUESTION, "--store", "nowhere", code=1).stderr


def test_a_setting_that_is_not_known_is_refused_with_its_line(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "loam.yaml"
    config.write_text("port: 8000\nprot: 8001\n")
    assert "loam.yaml, line 2" in shell.run("--config", config, "stores", "list", code=1).stderr


def test_serving_beyond_loopback_without_a_key_is_refused(shell: Shell) -> None:
    assert "loam keys create" in shell.run("serve", "--host", "0.0.0.0", "--port", "0", code=1).stderr


def test_a_port_in_use_is_said_plainly(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = shell.run("serve", "--port", port, code=1).stderr
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use" in error


def test_a_database_that_is_none_is_said_in_one_line_that_names_doctor(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "loam.db").write_bytes(b"not a database" * 99)

    [said] = shell.run("stores", "list", code=1).stderr.splitlines()
    assert "file is not a database" in said and "loam doctor" in said


def test_doctor_says_a_wrong_setting_once(shell: Shell) -> None:
    findings = json.loads(shell.run("doctor", "--json", code=1, LOAM_PORT="http").stdout)["findings"]

    assert [one["name"] for one in findings if one["state"] == "failed"] == ["settings"]


def test_a_worker_asked_to_end_ends_in_order(shell: Shell) -> None:
    command = [LOAM, "worker"]
    with subprocess.Popen(command, env=shell.environment(), stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        try:
            assert "Working" in worker.stdout.readline()
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        finally:
            worker.kill()


def test_ingest_prunes_what_has_gone_only_when_it_is_told_to(shell: Shell, folder: Path) -> None:
    (folder / "parking.md").write_text("Parking is free of charge.")
    shell.run("ingest", folder, "--store", "handbook")
    (folder / "parking.md").unlink()
    assert "removed" not in shell.json("ingest", folder, "--store", "handbook")["files"]
    assert shell.json("ingest", folder, "--store", "handbook", "--prune")["files"]["removed"] == 1


def test_ingest_follows_a_folder_until_it_is_interrupted(shell: Shell, folder: Path) -> None:
    command = [str(LOAM), "ingest", str(folder), "--store", "handbook", "--watch"]
    with subprocess.Popen(
        command, env=shell.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert "1 new" in process.stdout.readline()
            while "Watching" not in process.stderr.readline():
                pass
            (folder / "parking.md").write_text("Parking is free of charge.")
            assert "1 new" in process.stdout.readline()
            (folder / "parking.md").rename(folder / "cars.md")
            assert "1 new, 0 unchanged, 0 replaced, 0 failed, 1 removed" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
    hits = shell.json("search", "parking charge", "--store", "handbook")
    assert "cars.md" in json.dumps(hits)
    assert "parking.md" not in json.dumps(hits)
