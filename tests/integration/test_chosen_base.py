"""A tuned adapter served over another base than it was trained over: what that costs, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from finetune.adapter import Manifest
from services.chosen_base import choose_base
from services.cli.main import cli
from services.errors import BadRequest, NotFound
from services.parity import prove_again
from services.settings import ModelSettings, Settings
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuned_models import find_tuned_model, put_tuned_model
from services.wiring import Services, open_services
from tests.fakes.tiny_model import tiny_model
from tests.fakes.trained import CHATS, Trained, trained_in

MODEL = "ft:tiny:default::1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An adapter that was trained over an NF4 base."""
    return trained_in(tmp_path_factory.mktemp("trained"), CHATS, quantization="nf4", count=2)


@pytest.fixture
def services(trained: Trained, home: Path, tmp_path: Path) -> Iterator[Services]:
    models = (
        ModelSettings(id="plain", engine="local", source=str(trained.base)),
        ModelSettings(id="as-trained", engine="local", source=str(trained.base), quantization="nf4"),
        ModelSettings(id="other", engine="local", source=str(tiny_model(tmp_path / "other", seed=9))),
        ModelSettings(id="hosted", engine="openai", source="gpt", base_url="http://localhost:1/v1"),
    )
    services = open_services(Settings(home=home, models=models))
    with services.database.write() as session:
        put_tuned_model(
            session,
            DEFAULT_PROJECT,
            MODEL,
            parent="plain",
            folder=trained.adapter,
            manifest=Manifest.read(trained.adapter),
        )
    yield services
    services.close()


def kept(services: Services) -> dict[str, object]:
    with services.database.read() as session:
        row = find_tuned_model(session, DEFAULT_PROJECT, MODEL)
        assert row is not None
        return dict(row.manifest["parity"])


def test_by_itself_it_is_served_over_what_it_was_trained_over(services: Services) -> None:
    parity = prove_again(services, DEFAULT_PROJECT, MODEL)
    assert parity is not None
    assert (parity.passed, parity.over) == (True, None)
    assert kept(services) == Manifest.read(Path(services.router.tokenizer_of(DEFAULT_PROJECT, MODEL) or "")).parity


def test_over_unquantized_weights_the_error_of_quantization_is_measured(services: Services) -> None:
    choose_base(services, DEFAULT_PROJECT, MODEL, "plain")
    parity = prove_again(services, DEFAULT_PROJECT, MODEL)
    assert parity is not None
    assert [reason.code for reason in parity.reasons] == ["quantization"]
    assert parity.identical == parity.sequences
    assert parity.kl_per_token is not None
    assert 1e-6 < parity.kl_per_token < 1e-2
    assert (kept(services)["over"], services.router.model(DEFAULT_PROJECT, MODEL).over) == ("plain", "plain")


def test_over_the_same_weights_quantized_the_same_it_passes(services: Services) -> None:
    choose_base(services, DEFAULT_PROJECT, MODEL, "as-trained")
    parity = prove_again(services, DEFAULT_PROJECT, MODEL)
    assert parity is not None
    assert (parity.passed, parity.over) == (True, "as-trained")


def test_a_choice_is_taken_back(services: Services) -> None:
    choose_base(services, DEFAULT_PROJECT, MODEL, "plain")
    choose_base(services, DEFAULT_PROJECT, MODEL, None)
    parity = prove_again(services, DEFAULT_PROJECT, MODEL)
    assert parity is not None
    assert (parity.passed, parity.over) == (True, None)


def test_other_weights_are_refused_with_what_is_risked(services: Services) -> None:
    with pytest.raises(BadRequest, match=r"(?s)weights of 'other' are others.*nobody has trained or measured.*--force"):
        choose_base(services, DEFAULT_PROJECT, MODEL, "other")


def test_forced_over_other_weights_it_is_served_and_parity_says_so(services: Services) -> None:
    choose_base(services, DEFAULT_PROJECT, MODEL, "other", force=True)
    parity = prove_again(services, DEFAULT_PROJECT, MODEL)
    assert parity is not None
    assert [reason.code for reason in parity.reasons] == ["weights"]
    assert not parity.passed


@pytest.mark.parametrize(("over", "said"), [("hosted", "weights of its own"), ("nobody", "weights of its own")])
def test_what_has_no_weights_here_is_refused(services: Services, over: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        choose_base(services, DEFAULT_PROJECT, MODEL, over)


def test_a_model_that_was_not_tuned_here_has_no_choice(services: Services) -> None:
    with pytest.raises(NotFound, match="no tuned model 'plain'"):
        choose_base(services, DEFAULT_PROJECT, "plain", "as-trained")


def test_a_base_that_is_gone_is_told(services: Services) -> None:
    choose_base(services, DEFAULT_PROJECT, MODEL, "plain")
    services.router._declared.pop("plain")
    with pytest.raises(BadRequest, match="'plain', which is not there any more"):
        services.router.resolve(DEFAULT_PROJECT, MODEL)


def test_command_line_chooses_and_proves(services: Services, home: Path) -> None:
    config = home / "loam.yaml"
    source = services.settings.models[0].source
    config.write_text(f"models:\n  - {{id: plain, engine: local, source: {source!r}}}\n")

    def loam(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["--home", str(home), "models", *words])
        return done.exit_code, done.output

    code, told = loam("serve", MODEL, "--over", "plain")
    assert (code, told.splitlines()[0]) == (0, f"Serving {MODEL} over plain.")
    assert "by the error of quantization; KL is" in told
    assert loam("prove", MODEL)[0] == 1
    assert loam("serve", MODEL)[0] == 0
    code, told = loam("prove", MODEL)
    assert code == 0
    assert told.startswith("Parity passed")
