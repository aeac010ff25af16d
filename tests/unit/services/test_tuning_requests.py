"""What is refused of a job at once; each refusal names the parameter at fault."""

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.config import Lora, Tuning
from services.errors import BadRequest
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuned_models import put_tuned_model
from services.storage.tuning import find_job
from services.storage.tuning_tables import TuningRow
from services.wiring import Services
from tests.fakes.trainer import create_job, put_training_file
from tests.fakes.tuned import MANIFEST

PAIR = b'{"prompt": "two and two?", "chosen": "four", "rejected": "five"}\n'
LORA = Lora(r=4)


def refused(services: Services, **wanted: object) -> tuple[str | None, str | None, str]:
    with pytest.raises(BadRequest) as error:
        create_job(services, **wanted)
    return error.value.param, error.value.code, str(error.value)


def created(services: Services, **wanted: object) -> TuningRow:
    job_id = create_job(services, **wanted)
    with services.database.read() as session:
        row = find_job(session, DEFAULT_PROJECT, job_id)
    assert row is not None
    return row


@pytest.mark.parametrize("param", ["training_file", "validation_file"])
def test_file_that_is_not_there(services: Services, param: str) -> None:
    assert refused(services, **{param: "file-none"}) == (param, "file_not_found", "No such File object: file-none")


@pytest.mark.parametrize("param", ["training_file", "validation_file"])
def test_file_of_another_purpose(services: Services, param: str) -> None:
    file_id = put_training_file(services, purpose="assistants")
    found, code, message = refused(services, **{param: file_id})
    assert (found, code) == (param, "invalid_file_purpose")
    assert message.endswith("has the purpose 'assistants': upload it with the purpose 'fine-tune'.")


@pytest.mark.parametrize("model", ["gpt-4o-mini", "extractive", "/etc", "../..", "no such model"])
def test_model_that_cannot_be_tuned(services: Services, model: str) -> None:
    assert refused(services, model=model)[:2] == ("model", "model_not_available")


def test_file_for_another_method(services: Services) -> None:
    param, code, message = refused(services, training_file=put_training_file(services, PAIR))
    assert (param, code) == ("method", "incompatible_method")
    assert message.startswith("The training file is for dpo or reward, and the method is supervised")
    created(services, training_file=put_training_file(services, PAIR), tuning=Tuning(method="dpo"))


def test_file_whose_format_cannot_be_told_is_for_the_check(services: Services) -> None:
    for content in (b"", b"\xef\xbb\xbf{}\n", b"nonsense\n", b'{"x": 1}\n'):
        created(services, training_file=put_training_file(services, content))


def test_integration_that_is_not_installed(services: Services) -> None:
    wandb = {"type": "wandb_is_not_here", "wandb": {"project": "p"}}
    param, code, message = refused(services, integrations=[wandb])
    assert (param, code) == ("integrations", "integration_not_available")
    assert "pip install wandb_is_not_here" in message


def test_refused_job_leaves_nothing_behind(services: Services) -> None:
    refused(services, training_file="file-none")
    with services.database.read() as session:
        assert session.query(TuningRow).count() == 0


def tuned(services: Services, folder: Path, *, kind: str = "adapter") -> str:
    """A tuned model, made with 4-bit weights and a LoRA of rank 4."""
    manifest = replace(MANIFEST, kind=kind, quantization="nf4", settings={"lora": LORA.model_dump()})
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with services.database.write() as session:
        name = "ft:tiny:default:cook:12345678"
        put_tuned_model(session, DEFAULT_PROJECT, name, parent="tiny", folder=folder, manifest=manifest)
    return name


def test_tuned_model_hands_down_its_quantization_and_lora(services: Services, tmp_path: Path) -> None:
    row = created(services, model=tuned(services, tmp_path / "tuned"), tuning=Tuning())
    assert (row.tuning["quantization"], row.tuning["lora"]["r"]) == ("nf4", 4)
    assert (row.base, row.parent_id) == (MANIFEST.base, "ft:tiny:default:cook:12345678")
    assert row.request["root"] == "tiny"


@pytest.mark.parametrize(
    ("param", "tuning"), [("quantization", Tuning(quantization="none")), ("lora", Tuning(lora=Lora(r=8)))]
)
def test_tuned_model_that_is_to_go_on_otherwise(services: Services, tmp_path: Path, param: str, tuning: Tuning) -> None:
    model = tuned(services, tmp_path / "tuned")
    assert refused(services, model=model, tuning=tuning)[:2] == (param, "incompatible_with_parent")


def test_fully_tuned_model_is_a_base_like_any_other(services: Services, tmp_path: Path) -> None:
    model = tuned(services, tmp_path / "tuned", kind="full")
    row = created(services, model=model, tuning=Tuning(quantization="none"))
    assert (row.tuning["quantization"], row.base) == ("none", str(tmp_path / "tuned"))


def test_seed_that_was_given_is_kept_and_another_is_drawn(services: Services) -> None:
    assert created(services, tuning=Tuning(seed=7)).tuning["seed"] == 7
    assert created(services).tuning["seed"] != created(services).tuning["seed"]
