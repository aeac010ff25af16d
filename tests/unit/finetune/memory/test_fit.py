"""The choice of a plan, over a stand-in for the simulation that takes memory by simple rules."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from finetune.config import Hyperparameters, Lora, Method, Settings, Tuning, settle
from finetune.errors import DoesNotFit, TrainingFailed
from finetune.memory import fit as fit_module
from finetune.memory import remedies
from finetune.memory.fit import fit
from finetune.memory.measure import Training
from finetune.plan import Peaks, Plan, needed
from tests.fakes.tuning_jobs import plan_of

GIB = 1 << 30
LAYERS = 32
TOKENS = 512


def simulated(training: Training, plan: Plan) -> Plan:
    """Give a model's weights as 4 GiB, and of each 512 tokens 2 GiB, an eighth of it if checkpointed.

    What is shared out is shared out evenly.
    """
    settings = training.settings
    share = training.config.num_hidden_layers / LAYERS
    weights = (4 if settings.quantization == "nf4" else 16) * share
    trained = settings.lora.r / 64 if settings.lora else weights
    if plan.sharded:
        weights, trained = weights / plan.processes, trained / plan.processes
    activations = 2.0 * plan.micro_batch * plan.longest / TOKENS
    if plan.gradient_checkpointing:
        activations /= 8
    if plan.activation_offloading:
        activations /= 2
    parts = {
        "weights": weights,
        "adapter": trained if settings.lora else 0,
        "gradients": trained,
        "optimizer": 0 if plan.optimizer.startswith("paged") else 2 * trained,
        "activations": activations,
    }
    sizes = {part: int(size * GIB) for part, size in parts.items()}
    peaks = Peaks(step=sum(sizes.values()), evaluation=0, saving=0)
    return replace(plan, parts=sizes, peaks=peaks, needed_bytes=needed(peaks))


@pytest.fixture(autouse=True)
def simulations(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """What was simulated."""
    done: list[Plan] = []

    def counted(training: Training, plan: Plan) -> Plan:
        done.append(plan)
        return simulated(training, plan)

    monkeypatch.setattr(fit_module, "measured", counted)
    monkeypatch.setattr(remedies, "measured", counted)
    monkeypatch.setattr(remedies, "count_parameters", lambda config: config.num_hidden_layers * 200_000_000)
    return done


class Config(SimpleNamespace):
    def get_text_config(self) -> "Config":
        return self


def settings_of(batch_size: int, **asked: Any) -> Settings:
    tuning = Tuning(hyperparameters=Hyperparameters(batch_size=batch_size), **{"lora": Lora(r=64), **asked})
    return settle(tuning, examples=100, longest_input=None)


Fitted = Callable[..., Plan]


@pytest.fixture
def fitted() -> Fitted:
    def run(
        gib: float,
        *,
        batch_size: int = 8,
        longest: int = TOKENS,
        device: str = "cuda:0",
        processes: int = 1,
        **asked: Any,
    ) -> Plan:
        free, share = int(gib * GIB), batch_size // processes
        draft = plan_of(share, device=device, device_bytes=free, longest=longest, optimizer="", processes=processes)
        config = Config(num_hidden_layers=LAYERS, layer_types=["full_attention"] * LAYERS)
        return fit(Training(config=config, settings=settings_of(batch_size, **asked)), draft)

    return run


def test_a_batch_that_fits_is_one_pass_and_one_simulation(fitted: Fitted, simulations: list[Plan]) -> None:
    plan = fitted(80)
    assert (plan.micro_batch, plan.accumulation, plan.gradient_checkpointing) == (8, 1, False)
    assert plan.optimizer == "adamw_torch_fused"
    assert len(simulations) == 1


def test_a_larger_pass_is_worth_computing_activations_twice(fitted: Fitted) -> None:
    plan = fitted(16)
    assert (plan.micro_batch, plan.accumulation, plan.gradient_checkpointing) == (8, 1, True)


def test_a_pass_of_many_tokens_is_not_made_larger_at_that_price(fitted: Fitted) -> None:
    plan = fitted(30, longest=2048)
    assert (plan.micro_batch, plan.accumulation, plan.gradient_checkpointing) == (2, 4, False)


def test_checkpointing_is_left_out_where_it_makes_no_pass_larger(fitted: Fitted) -> None:
    plan = fitted(12, batch_size=1)
    assert not plan.gradient_checkpointing


@pytest.mark.parametrize(("batch_size", "micro_batch"), [(8, 4), (6, 3), (12, 4), (7, 1)])
def test_passes_are_of_one_size(fitted: Fitted, batch_size: int, micro_batch: int) -> None:
    plan = fitted(9.5 * 1.05 + 5, batch_size=batch_size, longest=2048)
    assert plan.micro_batch * plan.accumulation == batch_size
    assert plan.micro_batch == micro_batch


def test_a_plan_leaves_what_was_promised_to_spare(fitted: Fitted) -> None:
    plan = fitted(16)
    assert plan.needed_bytes == int(plan.peaks.step * 1.05) + GIB
    assert plan.needed_bytes <= plan.device_bytes


def test_paged_moments_are_a_last_resort(fitted: Fitted) -> None:
    plan = fitted(8.5, batch_size=1, longest=2048)
    assert (plan.optimizer, plan.gradient_checkpointing, plan.activation_offloading) == (
        "paged_adamw_8bit",
        True,
        False,
    )


def test_offloading_is_the_last_of_all(fitted: Fitted) -> None:
    plan = fitted(8.0, batch_size=1, longest=2048)
    assert (plan.optimizer, plan.activation_offloading) == ("paged_adamw_8bit", True)


def test_a_cpu_takes_no_optimizer_of_a_gpu(fitted: Fitted) -> None:
    with pytest.raises(DoesNotFit):
        fitted(8.5, batch_size=1, longest=2048, device="cpu")
    assert fitted(20, device="cpu").optimizer == "adamw_torch"


def test_kto_never_learns_from_an_answer_alone(fitted: Fitted) -> None:
    method: Method = "kto"
    assert fitted(10.5, longest=1024, method=method).micro_batch == 2
    with pytest.raises(DoesNotFit):
        fitted(7.7, longest=1024, method=method)


def test_reasons_name_what_the_next_larger_pass_and_the_other_ways_need(fitted: Fitted) -> None:
    assert fitted(11.5, longest=1024).reasons == (
        "A step of 8 examples is 2 passes of 4, since a pass of 8 needs 13.6 GiB.",
        "adamw_torch_fused without gradient checkpointing needs 13.6 GiB for a pass of 1.",
    )


def test_devices_that_share_a_step_are_each_fitted_to_their_share(fitted: Fitted) -> None:
    plan = fitted(11.5, longest=1024, device="cuda", processes=2, batch_size=16)
    assert (plan.micro_batch, plan.accumulation, plan.processes) == (4, 2, 2)
    assert plan.reasons[:2] == (
        "Each of 2 devices holds the whole model, and learns from 8 of a step's 16 examples.",
        "A device's share of a step of 8 examples is 2 passes of 4, since a pass of 8 needs 13.6 GiB.",
    )


def test_devices_that_share_a_step_are_refused_for_what_each_must_hold(fitted: Fitted) -> None:
    with pytest.raises(DoesNotFit) as refused:
        fitted(7.6, longest=4096, device="cuda", processes=2, sharding="none")
    assert str(refused.value).startswith(
        "This training needs at least 8.3 GiB of memory on each of 2 devices, which all hold the whole model, and the "
        "fullest has 7.6 GiB free. What would fit: "
    )


def test_weights_are_shared_out_where_they_do_not_fit_otherwise(fitted: Fitted) -> None:
    plan = fitted(8.5, longest=1024, device="cuda", processes=2)
    assert (plan.sharded, plan.micro_batch, plan.optimizer) == (True, 4, "adamw_torch_fused")
    assert plan.reasons[0] == (
        "Each of 2 devices holds a part of the weights, since with all of them each needs 11.5 GiB, and learns from "
        "4 of a step's 8 examples."
    )


def test_weights_that_fit_each_device_are_not_shared_out(fitted: Fitted) -> None:
    assert not fitted(10, longest=1024, device="cuda", processes=2).sharded


def test_weights_are_shared_out_or_not_as_was_asked_for(fitted: Fitted) -> None:
    plan = fitted(80, device="cuda", processes=2, sharding="full")
    assert plan.sharded
    assert plan.reasons[0].startswith("Each of 2 devices holds a part of the weights, as was asked for, and learns")
    whole = fitted(8.6, longest=1024, device="cuda", processes=2, sharding="none")
    assert (whole.sharded, whole.optimizer) == (False, "paged_adamw_8bit")


def test_one_device_has_nobody_to_share_weights_with(fitted: Fitted) -> None:
    assert not fitted(80, sharding="full").sharded


def test_refusal_of_whole_weights_offers_to_share_them_out(fitted: Fitted) -> None:
    with pytest.raises(DoesNotFit) as refused:
        fitted(7.6, longest=2048, device="cuda", processes=2, sharding="none")
    assert refused.value.remedies[0][0] == "sharding full"


def test_refusal_of_shared_weights_offers_more_devices(fitted: Fitted) -> None:
    with pytest.raises(DoesNotFit, match="on each of 2 devices, which share the weights out, and") as refused:
        fitted(5, longest=1024, device="cuda", processes=2)
    assert refused.value.remedies[0][0] == "4 such devices"


def test_kto_gives_no_device_an_answer_alone(fitted: Fitted) -> None:
    method: Method = "kto"
    with pytest.raises(TrainingFailed, match="Set batch_size to 4 or more"):
        fitted(80, device="cuda", processes=2, batch_size=2, method=method)


def test_refusal_names_each_change_that_would_fit_with_what_it_needs(fitted: Fitted) -> None:
    with pytest.raises(DoesNotFit) as refused:
        fitted(7.6, longest=4096)
    changes = dict(refused.value.remedies)
    assert set(changes) == {"max_length 1,024", "lora.r 8", "a model of this shape with 4.2 billion parameters"}
    assert all(size <= 7.6 * GIB for size in changes.values())
    assert str(refused.value).startswith(
        "This training needs at least 8.3 GiB of memory, and 'cuda:0' has 7.6 GiB free. What would fit: "
        "max_length 1,024 (7.6 GiB), lora.r 8 ("
    )


def test_refused_weights_are_offered_lighter(fitted: Fitted) -> None:
    with pytest.raises(DoesNotFit) as refused:
        fitted(16, quantization="none", lora=None)
    assert [change for change, _ in refused.value.remedies][:1] == ["quantization nf4 with lora"]


def test_what_cannot_fit_in_any_way_is_found_out_at_once(fitted: Fitted, simulations: list[Plan]) -> None:
    with pytest.raises(DoesNotFit) as refused:
        fitted(3)
    whole, least = simulations[:2]
    assert (whole.micro_batch, least.micro_batch, least.activation_offloading) == (8, 1, True)
    assert refused.value.needed_bytes == simulated(_training(), least).needed_bytes


def test_a_smaller_model_has_fewer_layers_of_each_kind() -> None:
    config = Config(num_hidden_layers=4, layer_types=["full", "sliding", "full", "sliding"])
    smaller = remedies.with_layers(config, 3)
    assert (smaller.num_hidden_layers, smaller.layer_types) == (3, ["full", "sliding", "full"])
    assert config.num_hidden_layers == 4


def _training() -> Training:
    return Training(config=Config(num_hidden_layers=LAYERS), settings=settings_of(8))
