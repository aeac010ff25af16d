"""What is found out before a training starts, in this process and in one of its own."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from finetune.config import Tuning
from finetune.errors import DoesNotFit, ModelUnavailable, TrainingFailed
from finetune.model import Base
from finetune.prepare import MOST_TOLD, Prepared, Preparing, prepare
from finetune.processes.prepare_process import LOG, Preparation, start
from prompts.errors import ChatFormatError
from tests.fakes.tiny_model import tiny_model

GOOD = {"messages": [{"role": "user", "content": "two and two?"}, {"role": "assistant", "content": "four"}]}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(source=str(tiny_model(tmp_path_factory.mktemp("base") / "tiny")))


@pytest.fixture
def unplanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is prepared in this process is not planned, which takes seconds."""
    monkeypatch.setattr("finetune.prepare.plan_training", lambda *_arguments, **_lengths: None)


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def preparing(base: Base, path: Path, *, validation: Path | None = None, **tuning: object) -> Preparing:
    asked = Tuning.model_validate({"seed": 7, **tuning})
    return Preparing(base=base, tuning=asked, training_file=path, validation_file=validation, device="cpu")


def test_what_was_left_open_is_settled_from_the_file_and_the_model(base: Base, tmp_path: Path, unplanned: None) -> None:
    found = prepare(preparing(base, write(tmp_path / "t", *[GOOD] * 5)))
    assert found.settings is not None
    assert (found.settings.batch_size, found.settings.max_length, found.settings.seed) == (5, 512, 7)
    assert (found.examples, found.errors, found.wrong, found.device) == (5, 0, None, "cpu")
    assert found.tokens > 0


def test_every_kind_of_problem_is_told_once_with_its_lines_errors_first(base: Base, tmp_path: Path) -> None:
    found = prepare(preparing(base, write(tmp_path / "t", GOOD, {"messages": 3}, GOOD, {"messages": 3})))
    assert (found.settings, found.wrong, found.errors) == (None, "training_file", 2)
    first, *others = found.told
    assert (first.severity, first.code, first.count, first.lines) == ("error", "wrong_type", 2, (2, 4))
    assert first.text.startswith("Lines 2, 4, messages: is a number, not a list. ")
    assert {told.code for told in others} == {"duplicate"}
    assert {told.severity for told in others} == {"warning"}


def test_problems_of_the_validation_file_are_its_own(base: Base, tmp_path: Path) -> None:
    validation = write(tmp_path / "v", {"messages": []})
    found = prepare(preparing(base, write(tmp_path / "t", *[GOOD] * 3), validation=validation))
    assert (found.settings, found.wrong) == (None, "validation_file")
    assert {told.part for told in found.told if told.severity == "error"} == {"validation_file"}


def test_problems_beyond_the_most_are_counted(base: Base, tmp_path: Path, unplanned: None) -> None:
    rows = [{**GOOD, f"unknown_{number}": 1} for number in range(MOST_TOLD + 5)]
    found = prepare(preparing(base, write(tmp_path / "t", *rows)))
    assert (len(found.told), found.untold >= 5) == (MOST_TOLD, True)


def test_length_that_the_model_does_not_take_is_refused(base: Base, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="takes 512 tokens at most, and max_length is 600") as refused:
        prepare(preparing(base, write(tmp_path / "t", GOOD), max_length=600))
    assert refused.value.code == "invalid_max_length"


def test_model_that_is_not_there_and_one_without_a_template_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "t", GOOD)
    with pytest.raises(ModelUnavailable):
        prepare(preparing(Base(source=str(tmp_path / "nowhere")), file))
    with pytest.raises(ChatFormatError, match="Choose its instruct version"):
        prepare(preparing(Base(source=str(tiny_model(tmp_path / "bare", template=None))), file))


def waited(preparation: Preparation) -> Prepared:
    try:
        while (found := preparation.result(0.2)) is None:
            pass
        return found
    finally:
        preparation.kill()


def test_process_finds_what_a_call_does_and_plans(base: Base, tmp_path: Path, unplanned: None) -> None:
    wanted = preparing(base, write(tmp_path / "t", *[GOOD] * 3), lora={"r": 4, "targets": ["q_proj"]})
    found = waited(start(wanted, tmp_path / "job"))
    assert found.plan is not None
    assert (found.plan.micro_batch, found.plan.steps, found.plan.longest > 0) == (3, 3, True)
    assert replace(found, plan=None) == prepare(wanted)


def test_training_that_does_not_fit_is_refused(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_lengths: object) -> None:
        raise DoesNotFit("It takes 9 GiB, and 1 is free.", needed_bytes=9 << 30, remedies=())

    monkeypatch.setattr("finetune.prepare.plan_training", refuse)
    with pytest.raises(DoesNotFit):
        prepare(preparing(base, write(tmp_path / "t", GOOD)))


def test_model_that_cannot_be_simulated_trains_without_a_plan(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_lengths: object) -> None:
        raise NotImplementedError("an operator")

    monkeypatch.setattr("finetune.prepare.plan_training", fail)
    found = prepare(preparing(base, write(tmp_path / "t", GOOD)))
    assert found.settings is not None
    assert found.unplanned == "The memory of the training could not be planned (NotImplementedError)."


def test_refusal_comes_out_of_the_process_with_its_code(tmp_path: Path) -> None:
    wanted = preparing(Base(source=str(tiny_model(tmp_path / "bare", template=None))), write(tmp_path / "t", GOOD))
    with pytest.raises(TrainingFailed, match="has no chat template") as refused:
        waited(start(wanted, tmp_path / "job"))
    assert refused.value.code == "no_chat_template"


def test_process_that_breaks_says_where_its_words_are(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.processes.prepare_process.REQUEST", "elsewhere.json")
    with pytest.raises(TrainingFailed, match=f"could not be checked.*{LOG}"):
        waited(start(preparing(base, tmp_path / "t"), tmp_path / "job"))


PARENT = """
import sys
from pathlib import Path
from finetune.processes.prepare_process import _REQUEST, start
folder = Path(sys.argv[1])
preparation = start(_REQUEST.validate_json((folder / "wanted.json").read_bytes()), folder)
print(preparation._process.pid, flush=True)
sys.stdin.read()
"""


def test_process_ends_with_a_parent_that_is_killed(base: Base, tmp_path: Path) -> None:
    from finetune.processes.prepare_process import _REQUEST

    wanted = preparing(base, write(tmp_path / "t", *[GOOD] * 3))
    (tmp_path / "wanted.json").write_bytes(_REQUEST.dump_json(wanted))
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert not psutil.pid_exists(child.pid) or _gone(child)
    assert not (tmp_path / "prepared.json").exists()


def _gone(process: psutil.Process) -> bool:
    """An orphan of a dead parent may stay a zombie where nobody reaps it."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
