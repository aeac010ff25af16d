from pathlib import Path

import pytest

from finetune.errors import TrainingFailed
from finetune.train.checkpoints import NEW, check_space, drop_trainer_state, named, newest, step_of, whole, writing


def written(folder: Path, step: int) -> Path:
    with writing(named(folder, step)) as new:
        (new / "weights").write_text("w")
        (new / "optimizer.pt").write_text("o")
        (new / "rng_state_0.pth").write_text("r")
    return named(folder, step)


def test_the_newest_is_that_of_the_highest_step(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        written(tmp_path, step)
    assert [step_of(path) for path in whole(tmp_path)] == [9, 20, 100]
    assert newest(tmp_path) == tmp_path / "step-100"
    assert newest(tmp_path / "none") is None


def test_what_is_being_written_is_no_checkpoint(tmp_path: Path) -> None:
    with writing(named(tmp_path, 1)) as new:
        (new / "weights").write_text("half")
        assert whole(tmp_path) == []
    assert (named(tmp_path, 1) / "weights").read_text() == "half"


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), writing(named(tmp_path, 1)) as new:
        (new / "weights").write_text("half")
        raise OSError("full")
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_trainer_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / NEW).mkdir()
    (tmp_path / NEW / "rest").write_text("of another")
    assert {path.name for path in written(tmp_path, 1).iterdir()} == {"weights", "optimizer.pt", "rng_state_0.pth"}


def test_a_trainers_state_is_kept_where_it_is_needed(tmp_path: Path) -> None:
    folders = [written(tmp_path, step) for step in (1, 2)]
    drop_trainer_state(tmp_path, keep=1)
    assert [len(list(folder.iterdir())) for folder in folders] == [1, 3]
    drop_trainer_state(tmp_path, keep=0)
    assert [[path.name for path in folder.iterdir()] for folder in folders] == [["weights"], ["weights"]]


def test_room_is_asked_for_all_checkpoints_the_result_and_two_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 5 * 10**9 + 2 * 10**9 + (64 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free})())
    check_space(tmp_path, checkpoints=4, weights=10**9, state=10**9)
    with pytest.raises(TrainingFailed, match=r"5 checkpoints and the model take 8\.1 GB, and 7\.1 GB are free"):
        check_space(tmp_path, checkpoints=5, weights=10**9, state=10**9)
