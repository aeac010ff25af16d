"""`loam finetune check` over real training files, good and bad, with a model and without."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from services.cli.main import cli
from tests.fakes.tiny_encoder import save_tiny_encoder
from tests.fakes.tokenizer import template_named, tiny_tokenizer

ROOT = Path(__file__).parents[2]

# What each file of ft/bad must be told, in place, code and a word of the reason; nothing where it is to be accepted.
BAD: dict[str, list[tuple[int | None, str, str]]] = {
    "content_null.jsonl": [(4, "missing_content", "null")],
    "crlf.jsonl": [],
    "deep_nesting.jsonl": [(1, "nesting", "too deeply")],
    "dpo_missing_rejected.jsonl": [(line, "missing_key", "missing") for line in range(1, 13)],
    "duplicate_rows.jsonl": [(line, "duplicate", "repeats line 1") for line in range(2, 51)],
    "empty_assistant.jsonl": [(4, "empty_target", "empty")],
    "gzip_named_jsonl.jsonl": [(None, "compressed", "gzip")],
    "image_part.jsonl": [(12, "media", "image_url")],
    "last_not_assistant.jsonl": [(4, "assistant_first", "before"), (4, "last_not_assistant", "user")],
    "legacy_prompt_completion.jsonl": [],
    "missing_messages_key.jsonl": [(4, "unknown_format", "has no 'messages'")],
    "not_objects.jsonl": [(line, "not_object", "not an object") for line in range(1, 5)],
    "one_bad_line_in_middle.jsonl": [(6, "json", "not valid JSON")],
    "truncated_last_line.jsonl": [(12, "json", "not valid JSON")],
    "utf16.jsonl": [(None, "encoding", "UTF-16")],
    "whitespace_only.jsonl": [(None, "empty_file", "no records")],
}
WARNED = {"crlf.jsonl", "duplicate_rows.jsonl", "legacy_prompt_completion.jsonl"}

CLEAN = {
    "derived/clinc10a_chat_train.jsonl": ("openai_chat", 1050, {"near_duplicate"}),
    "derived/wikisql_chat_train.jsonl": ("openai_chat", 1000, {"duplicate", "near_duplicate"}),
    "llamafactory/alpaca_en_demo.json": ("alpaca", 999, {"duplicate"}),
    "llamafactory/dpo_en_demo.json": ("sharegpt_preference", 300, {"duplicate"}),
    "llamafactory/identity.json": ("alpaca", 91, {"near_duplicate"}),
    "llamafactory/kto_en_demo.json": ("sharegpt_kto", 300, set()),
    "llamafactory/v1_dpo_demo.jsonl": ("message_pair", 10, set()),
    "llamafactory/v1_sft_demo.jsonl": ("openai_chat", 500, {"duplicate", "near_duplicate"}),
    "openai_toy/toy_chat_fine_tuning.jsonl": ("openai_chat", 5, {"few_examples", "assistant_first"}),
}


def check(*words: object) -> tuple[int, dict[str, Any]]:
    ran = CliRunner().invoke(cli, ["finetune", "check", *map(str, words), "--json"], catch_exceptions=False)
    return ran.exit_code, json.loads(ran.stdout)


def codes(report: dict[str, Any]) -> set[str]:
    return {problem["code"] for problem in report["problems"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a directory with the tokenizer of a tiny model that has the chat template of a real one."""

    def made(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        template = template_named(name) if name != "base" else None
        tiny_tokenizer(template).save_pretrained(folder)
        return folder

    return made


@pytest.mark.parametrize("name", BAD)
def test_every_bad_file_gets_its_reason(shared_data: Path, name: str) -> None:
    code, report = check(shared_data / "ft" / "bad" / name)
    problems = [(one["line"], one["code"], one["reason"]) for one in report["files"][0]["problems"]]
    errors = [problem for problem in problems if problem[1] != "few_examples"]
    assert code == (0 if name in WARNED else 1)
    assert [(line, found) for line, found, _ in errors] == [(line, found) for line, found, _ in BAD[name]]
    assert [word for (_, _, word), (_, _, reason) in zip(BAD[name], errors, strict=True) if word not in reason] == []


def test_no_bad_file_is_forgotten(shared_data: Path) -> None:
    expected = json.loads((shared_data / "ft" / "bad" / "EXPECTED.json").read_text(encoding="utf-8"))
    assert set(expected) == set(BAD)


@pytest.mark.parametrize("name", CLEAN)
def test_real_files_are_accepted_with_truthful_warnings(shared_data: Path, name: str) -> None:
    code, report = check(shared_data / "ft" / name)
    (file,) = report["files"]
    format_, count, warned = CLEAN[name]
    assert (code, file["format"], file["records"], file["examples"]) == (0, format_, count, count)
    assert codes(file) == warned
    assert sum(bar["examples"] for bar in file["tokens"]["histogram"]) == count


@pytest.mark.parametrize(("name", "code"), [("c4_demo.jsonl", "raw_text"), ("v1_multimodal_demo.jsonl", "media")])
def test_what_cannot_be_learned_from_is_refused(shared_data: Path, name: str, code: str) -> None:
    exit_code, report = check(shared_data / "ft" / "llamafactory" / name)
    assert (exit_code, codes(report["files"][0])) == (1, {code})


def test_a_validation_file_of_other_examples_is_checked_beside(shared_data: Path) -> None:
    folder = shared_data / "ft" / "derived"
    code, report = check(folder / "wikisql_chat_train.jsonl", "--validation", folder / "wikisql_chat_valid.jsonl")
    assert (code, [file["examples"] for file in report["files"]]) == (0, [1000, 100])


def test_a_file_is_its_own_validation_file_in_every_line(shared_data: Path) -> None:
    path = shared_data / "ft" / "derived" / "wikisql_chat_valid.jsonl"
    _, report = check(path, "--validation", path)
    overlap = [one["line"] for one in report["files"][1]["problems"] if one["code"] == "in_validation"]
    assert overlap == list(range(1, 101))


def test_with_a_model_tokens_are_counted_and_the_sample_is_what_it_reads(
    shared_data: Path, model: Callable[[str], Path]
) -> None:
    path = shared_data / "ft" / "openai_toy" / "toy_chat_fine_tuning.jsonl"
    code, report = check(path, "--model", model("qwen2_5"), "--max-length", 1000, "--tokens-per-s", 100)
    (file,) = report["files"]
    (sample,) = file["sample"]
    learned = [sample["text"][start:end] for start, end in sample["trained"]]
    assert learned == ["It's great that you're getting exercise outdoors!<|im_end|>"]
    assert sample["text"].startswith("<|im_start|>system\nYou are a happy assistant")
    assert (code, file["tokens"]["estimated"], file["tokens"]["cut_examples"]) == (0, False, 1)
    assert file["seconds_per_epoch"] == file["tokens"]["total"] / 100
    assert 0 < file["tokens"]["trained"] < file["tokens"]["total"]


def test_what_the_models_template_refuses_is_an_error_of_its_line(
    shared_data: Path, model: Callable[[str], Path]
) -> None:
    path = shared_data / "ft" / "openai_toy" / "toy_chat_fine_tuning.jsonl"
    code, report = check(path, "--model", model("gemma"))
    (file,) = report["files"]
    refused = {one["line"] for one in file["problems"] if one["code"] == "template"}
    assert (code, 1 in refused, file["examples"]) == (1, True, 5 - len(refused))


@pytest.mark.parametrize(
    ("template", "message", "code"),
    [
        ("llama3", {"role": "user", "content": "Say <|eot_id|> now."}, "control_token"),
        ("smolvlm", {"role": "user", "content": "Hello."}, "template_omits"),
        ("glm4moe", {"role": "user", "content": "Hello."}, "no_stop_token"),
    ],
)
def test_what_a_template_does_to_an_example_is_said(
    tmp_path: Path, model: Callable[[str], Path], template: str, message: dict[str, str], code: str
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"messages": [message, {"role": "assistant", "content": "Done."}]}), encoding="utf-8")
    _, report = check(path, "--model", model(template))
    assert code in codes(report["files"][0])


def test_a_limit_that_leaves_nothing_to_learn_is_an_error(tmp_path: Path, model: Callable[[str], Path]) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"prompt": "what is two and two? " * 20, "completion": "four"}), encoding="utf-8")
    code, report = check(path, "--model", model("qwen2_5"), "--max-length", 50)
    assert (code, "cut_target" in codes(report["files"][0])) == (1, True)


def test_an_embedders_file_is_measured_as_the_embedder_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows = [{"query": "a b", "pos": ["c d e"], "neg": ["f"]}, {"query": "b", "pos": ["a " * 20]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    encoder = save_tiny_encoder(tmp_path / "encoder")
    code, report = check(path, "--model", encoder, "--method", "embedding")
    (told,) = report["files"]
    assert (code, told["kind"], codes(told)) == (0, "retrieval", {"cut", "few_examples"})
    # Each text has two special tokens; the tiny encoder reads 16 in all.
    assert {name: told["tokens"][name] for name in ("total", "trained", "max", "limit", "cut_trained")} == {
        "total": 4 + 5 + 3 + 3 + 22,
        "trained": 5 + 22,
        "max": 22,
        "limit": 16,
        "cut_trained": 6,
    }
    assert check(path, "--method", "supervised")[0] == 1


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from services.cli.main import main; main()"]
    return subprocess.run([*command, "finetune", "check", *map(str, words)], capture_output=True, text=True, cwd=ROOT)


def test_misuse_is_2_and_a_model_that_is_not_there_is_1(tmp_path: Path, model: Callable[[str], Path]) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}), encoding="utf-8")
    assert run(tmp_path / "none.jsonl").returncode == 2
    assert run(path, "--method", "guess").returncode == 2
    missing = run(path, "--model", tmp_path / "no-model")
    assert (missing.returncode, "The tokenizer of" in missing.stderr) == (1, True)
    base = run(path, "--model", model("base"))
    assert (base.returncode, "has no chat template. Choose its instruct version" in base.stderr) == (1, True)


def test_people_are_told_lines_reasons_remedies_and_what_is_learned(shared_data: Path) -> None:
    told = CliRunner().invoke(
        cli, ["finetune", "check", str(shared_data / "ft" / "bad" / "dpo_missing_rejected.jsonl")]
    )
    assert "error  lines 1-12, rejected: is missing\n         Add it.\n" in told.stdout
    assert "12 records, 0 without errors" in told.stdout


def test_without_a_model_neither_torch_nor_transformers_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}), encoding="utf-8")
    code = (
        "import sys; from services.cli.main import cli;"
        f"cli(['finetune', 'check', {str(path)!r}], standalone_mode=False);"
        "print(sorted({'torch', 'transformers', 'tokenizers', 'openai', 'fastapi', 'sqlalchemy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.splitlines()[-1] == "[]"
