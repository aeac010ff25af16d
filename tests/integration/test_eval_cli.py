"""`loam eval` from its command line to its files, over a store made for the run and one that is there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rag.confidence import FEATURES
from rag.evaluate.answers import MEASURES
from rag.evaluate.report import Case, Report, public
from services import embedding
from services.cli.main import cli
from tests.fakes.embedder import WordEmbedder

TEXTS = {"a/1": "Loam holds water well.", "b": "Clay is dense and heavy.", "c": "Sand dries quickly in the sun."}
ASKED = {"1": ("What holds water well?", "a/1"), "2": ("What dries quickly?", "c"), "3": ("What is heavy?", "b")}

Run = Callable[..., Any]


@pytest.fixture
def invoke(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("LOAM_EMBEDDER", WordEmbedder.name)
    monkeypatch.setattr(embedding, "load_embedder", lambda _settings: WordEmbedder())
    return lambda *words: CliRunner().invoke(cli, ["--home", str(home), "eval", *map(str, words)])


@pytest.fixture
def run(invoke: Callable[..., Result]) -> Run:
    def run(*words: object) -> Any:
        ran = invoke(*words, "--json")
        assert ran.exit_code == 0, ran.stderr or ran.exception
        return json.loads(ran.stdout)

    return run


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    folder = tmp_path / "soils"
    (folder / "qrels").mkdir(parents=True)
    lines(folder / "corpus.jsonl", [{"_id": name, "title": "", "text": text} for name, text in TEXTS.items()])
    lines(folder / "queries.jsonl", [{"_id": number, "text": text} for number, (text, _) in ASKED.items()])
    rows = [f"{number}\t{right}\t1" for number, (_, right) in ASKED.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    return folder


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_collection_is_searched_in_a_store_of_its_own_and_reported(run: Run, collection: Path, home: Path) -> None:
    found = run("retrieval", collection, "--fresh")
    assert {name: one["value"] for name, one in found["measures"].items()} == dict.fromkeys(found["measures"], 1.0)
    assert found["measures"].keys() >= {"ndcg@10", "mrr@10", "recall@1", "recall@10"}
    assert (found["questions"], found["setup"]["texts in the store"]) == (3, "3 of 3")
    folder = Path(found["folder"])
    assert folder == home / "evaluations" / "retrieval-soils-1"
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md", "report.png"]
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert not (home / "indexes").exists()


def test_a_second_run_has_a_folder_of_its_own_and_both_are_compared(run: Run, collection: Path) -> None:
    first, second = (run("retrieval", collection, "--fresh", *limit)["folder"] for limit in ((), ("--limit", 2)))
    compared = run("compare", first, Path(second) / "report.json", "--out", Path(second) / "beside")
    assert first != second
    assert (compared["questions"], compared["left_out"]) == (2, 1)
    assert {change["difference"]["value"] for change in compared["changes"]} == {0.0}
    names = sorted(path.name for path in (Path(second) / "beside").iterdir())
    assert names == ["comparison.json", "comparison.md", "comparison.png"]


def test_a_store_that_is_there_is_searched_by_the_names_of_its_files(
    run: Run, invoke: Callable[..., Result], collection: Path, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "b.md").write_text(TEXTS["b"])
    (folder / "other.md").write_text("Nothing of it.")
    for store, files in (("some", folder), ("none", folder / "other.md")):
        CliRunner().invoke(cli, ["--home", str(home), "ingest", str(files), "--store", store], catch_exceptions=False)
    found = run("retrieval", collection, "--store", "some")
    assert found["setup"]["texts in the store"] == "1 of 3"
    assert found["measures"]["recall@10"]["value"] == pytest.approx(1 / 3)
    refused = invoke("retrieval", collection, "--store", "none")
    assert "holds none of the texts" in str(refused.exception)


def test_questions_are_asked_of_documents_and_measured(run: Run, tmp_path: Path) -> None:
    (tmp_path / "soil.md").write_text("# Soil\n\nLoam holds water well.\n")
    asked = [
        {"question": "Loam holds water well?", "answer": "Loam holds water", "sources": ["soil.md"]},
        {"question": "Who won the cup in 1998?"},
    ]
    path = lines(tmp_path / "asked.jsonl", asked)
    found = run("answers", path, "--documents", tmp_path / "soil.md")
    assert found["setup"]["engine"] == "extractive"
    assert found["measures"]["answered_of_answerable"]["questions"] == 1
    assert found["measures"]["abstention_recall"]["value"] == 1.0


@pytest.mark.parametrize("given", [[], ["--fresh", "--store", "x"]])
def test_one_store_is_to_be_named(invoke: Callable[..., Result], collection: Path, given: list[str]) -> None:
    refused = invoke("retrieval", collection, *given)
    assert refused.exit_code == 2
    assert "Name one of --store, --fresh" in refused.stderr


MADE = {"model": "groq/acme/llama", "engine": "groq", "features by": "words-1"}


def answered_run(folder: Path, **setup: str) -> Path:
    """A run in which forty right answers have more going for them than forty wrong ones."""
    kinds = [({"answered_of_answerable": 1.0, "containment": 1.0}, 1.0), ({"refused_of_unanswerable": 0.0}, 0.0)]
    cases = [
        Case(id=f"{number}", question="?", scores=scores, features=dict.fromkeys(FEATURES, speaks))
        for number in range(40)
        for scores, speaks in kinds
    ]
    folder.mkdir()
    report = Report(kind="answers", collection="asked.jsonl", measures=MEASURES, cases=cases, setup=MADE | setup)
    (folder / "report.json").write_text(json.dumps(public(report)))
    return folder


def test_a_model_is_calibrated_on_a_run_until_that_is_removed(
    run: Run, invoke: Callable[..., Result], home: Path, tmp_path: Path
) -> None:
    found = run("calibrate", answered_run(tmp_path / "run"))
    assert found["after"]["at_threshold"]["precision"] == 1.0
    assert Path(found["folder"]) == home / "evaluations" / "calibration-asked-1"
    names = sorted(path.name for path in Path(found["folder"]).iterdir())
    assert names == ["calibration.json", "calibration.md", "calibration.png"]

    [kept] = run("calibrations")
    assert (kept["model"], kept["embedder"], kept["questions"]) == ("groq/acme/llama", "words-1", 40)
    assert kept["threshold"] == found["calibration"]["threshold"]
    assert "groq/acme/llama: from 0." in invoke("calibrations").stdout
    assert run("calibrations", "--remove", "groq/acme/llama") == []
    assert "has no calibration" in str(invoke("calibrations", "--remove", "groq/acme/llama").exception)


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ({"engine": "extractive"}, "calibration of its own"),
        ({"calibration": "from 0.400 on"}, "--uncalibrated"),
    ],
)
def test_what_cannot_be_calibrated_on_is_refused(
    invoke: Callable[..., Result], tmp_path: Path, setup: dict[str, str], said: str
) -> None:
    assert said in str(invoke("calibrate", answered_run(tmp_path / "run", **setup)).exception)
