"""The wire forms of jobs, events and checkpoints."""

from typing import Any

from finetune.config import Tuning, settle
from services.api.fine_tuning.schemas import FineTuningJob, checkpoint_object, event_object, job_object
from services.jobs.validate import SETTINGS
from services.storage.tuning_tables import TuningCheckpointRow, TuningEventRow, TuningRow


def row(tuning: Tuning, **fields: Any) -> TuningRow:
    tuning = tuning.model_copy(update={"seed": 7})
    return TuningRow(
        id="ftjob-1",
        project_id="default",
        status="validating_files",
        model="tiny",
        training_file_id="file-1",
        tuning=tuning.model_dump(mode="json"),
        request={"metadata": None, "integrations": []},
        created_at=1,
        **fields,
    )


def settled(tuning: Tuning) -> dict[str, Any]:
    settings: dict[str, Any] = SETTINGS.dump_python(settle(tuning, examples=3, longest_input=512), mode="json")
    return settings


def test_what_is_left_to_loam_is_auto_until_it_is_settled() -> None:
    told = job_object(row(Tuning())).model_dump()
    auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    assert told["hyperparameters"] == auto
    assert (told["learning_rate"], told["max_length"]) == (None, None)


def test_settled_hyperparameters_are_numbers() -> None:
    told = job_object(row(Tuning(), settings=settled(Tuning()))).model_dump(exclude_unset=True)
    numbers = {"n_epochs": 3, "batch_size": 3, "learning_rate_multiplier": 1.0}
    assert told["hyperparameters"] == numbers
    assert told["method"] == {"type": "supervised", "supervised": {"hyperparameters": numbers}}
    assert (told["learning_rate"], told["max_length"], told["seed"]) == (2e-4, 512, 7)


def test_multiplier_that_was_asked_for_is_given_back() -> None:
    tuning = Tuning.model_validate({"hyperparameters": {"learning_rate_multiplier": 0.5}})
    told = job_object(row(tuning, settings=settled(tuning)))
    assert told.hyperparameters.learning_rate_multiplier == 0.5
    assert told.learning_rate == 1e-4


def test_methods_that_openai_lacks_stand_under_their_name_with_their_beta() -> None:
    tuning = Tuning(method="kto")
    told = job_object(row(tuning, settings=settled(tuning))).model_dump(exclude_unset=True)
    assert told["method"]["type"] == "kto"
    assert told["method"]["kto"]["hyperparameters"]["beta"] == 0.1


def test_job_without_an_error_has_none() -> None:
    assert job_object(row(Tuning())).error is None


def test_failure_names_its_cause_and_parameter() -> None:
    failed = row(Tuning(), error_code="invalid_training_file", error_message="Bad.", error_param="training_file")
    told = job_object(failed)
    assert told.error is not None
    assert told.error.model_dump() == {"code": "invalid_training_file", "message": "Bad.", "param": "training_file"}


def test_result_is_a_list_of_files() -> None:
    assert job_object(row(Tuning())).result_files == []
    assert job_object(row(Tuning(), result_file_id="file-2")).result_files == ["file-2"]


def test_event_always_has_data() -> None:
    event = TuningEventRow(id="ftevent-1", created_at=1, level="info", message="Hi", type="message", data=None)
    assert event_object(event).data == {}


def test_checkpoint_has_its_step_among_its_metrics() -> None:
    checkpoint = TuningCheckpointRow(id="ftckpt_1", created_at=1, step=12, model_id="ft:x", metrics={"train_loss": 0.5})
    told = checkpoint_object(checkpoint, "ftjob-1")
    assert (told.step_number, told.metrics.step, told.metrics.train_loss) == (12, 12, 0.5)
    assert told.fine_tuned_model_checkpoint == "ft:x"


def test_job_that_is_created_again_is_given_back_as_it_was() -> None:
    """The answer to a create is kept as JSON, for a retry of it."""
    tuning = Tuning(method="kto")
    told = job_object(row(tuning, settings=settled(tuning)))
    kept = told.model_dump(mode="json", exclude_unset=True)
    assert FineTuningJob.model_validate(kept).model_dump(mode="json", exclude_unset=True) == kept
