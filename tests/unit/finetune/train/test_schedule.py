import pytest

from finetune.train.schedule import Schedule, schedule_of


@pytest.mark.parametrize(
    ("rows", "micro_batch", "accumulation", "steps_per_epoch"),
    [(16, 8, 1, 2), (17, 8, 1, 3), (17, 1, 8, 3), (10, 2, 2, 3), (1, 8, 1, 1), (9, 3, 3, 1)],
)
def test_an_epoch_ends_with_a_step_that_may_be_smaller(
    rows: int, micro_batch: int, accumulation: int, steps_per_epoch: int
) -> None:
    schedule = schedule_of(rows, epochs=2, micro_batch=micro_batch, accumulation=accumulation, every=None)
    assert (schedule.steps_per_epoch, schedule.steps) == (steps_per_epoch, 2 * steps_per_epoch)


def due(schedule: Schedule) -> list[int]:
    return [step for step in range(1, schedule.steps + 1) if schedule.due(step)]


def test_a_checkpoint_ends_each_epoch_and_no_500_steps_go_without() -> None:
    assert due(Schedule(epochs=2, steps_per_epoch=700)) == [500, 700, 1000, 1400]


def test_checkpoints_come_as_often_as_asked_and_at_the_end() -> None:
    schedule = Schedule(epochs=2, steps_per_epoch=5, every=4)
    assert due(schedule) == [4, 8, 10]
    assert schedule.checkpoints == 3


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (33, 0), (34, 1), (1000, 30)])
def test_a_short_run_does_not_warm_up(steps: int, warmup: int) -> None:
    assert Schedule(epochs=1, steps_per_epoch=steps).warmup == warmup
