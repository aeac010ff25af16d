from services.jobs.integrations import telling


def test_a_job_without_integrations_tells_nobody() -> None:
    assert telling("ftjob-1", []) == {"report_to": (), "run_name": None, "environment": {}}


def test_weights_and_biases_is_told_under_the_job_and_goes_on_with_its_run() -> None:
    told = telling("ftjob-1", [{"type": "wandb", "wandb": {"project": "kitchen"}}])
    assert (told["report_to"], told["run_name"]) == (("wandb",), "ftjob-1")
    assert told["environment"] == {
        "WANDB_PROJECT": "kitchen",
        "WANDB_RUN_ID": "ftjob-1",
        "WANDB_RESUME": "allow",
    }


def test_what_was_asked_of_weights_and_biases_is_passed_on() -> None:
    wandb = {"project": "kitchen", "entity": "us", "name": "first", "tags": ["a", "b"]}
    told = telling("ftjob-1", [{"type": "wandb", "wandb": wandb}])
    assert told["run_name"] == "first"
    assert told["environment"].items() >= {"WANDB_ENTITY": "us", "WANDB_TAGS": "a,b"}.items()


def test_several_are_told_once_each() -> None:
    board = {"type": "tensorboard"}
    assert telling("ftjob-1", [board, board])["report_to"] == ("tensorboard",)
