"""Adapters on a server that is only pretended: who is let go for whom, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from services.engines.local.passport import ModelMismatch
from services.engines.vllm.adapters import Adapters
from services.engines.vllm.control import Control, Refusal
from services.engines.vllm.tuned import Speaker, Tuned
from services.errors import BadRequest, UpstreamFailed
from tests.fakes.tuned import MANIFEST


@dataclass
class FakeControl:
    loaded: dict[str, Path] = field(default_factory=dict)
    refusal: Refusal | None = None
    untrusted: bool = False
    tokens_of: Callable[[str], list[int]] = lambda text: [*text.encode()]

    def load_adapter(self, name: str, folder: Path) -> None:
        if self.refusal:
            raise self.refusal
        self.loaded[name] = folder

    def unload_adapter(self, name: str) -> None:
        del self.loaded[name]

    def tokens(self, model: str, messages: Any, **template: Any) -> list[int]:
        if self.untrusted:
            raise Refusal(400, "Refused request with untrusted chat template.")
        return self.tokens_of(template["chat_template_kwargs"]["rendered"])


class FakeSpeaker(Speaker):
    def prompt(self, messages: Any, tools: Any = (), *, prompt: bool = True) -> tuple[str, list[int]]:
        text = str(messages)
        return text, [*text.encode()]


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def adapters(control: FakeControl) -> Adapters:
    return Adapters(
        cast(Control, control), lambda tuned: FakeSpeaker(tuned, cast(Any, None)), most=2, rank=16, owner="base"
    )


@pytest.fixture
def tuned(tmp_path: Path) -> Callable[..., Tuned]:
    def make(name: str, rank: int = 8, **config: Any) -> Tuned:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"r": rank, **config}))
        return Tuned(id=name, folder=folder, manifest=MANIFEST)

    return make


def test_the_one_that_was_used_longest_ago_makes_room(
    adapters: Adapters, control: FakeControl, tuned: Callable[..., Tuned]
) -> None:
    for name in ("a", "b"):
        adapters.take(tuned(name))
    with adapters.using("a"):
        pass
    adapters.take(tuned("c"))

    assert list(control.loaded) == ["a", "c"]
    assert [one.id for one in adapters.taken()] == ["a", "c"]


def test_one_that_is_being_asked_is_not_let_go(
    adapters: Adapters, control: FakeControl, tuned: Callable[..., Tuned]
) -> None:
    for name in ("a", "b"):
        adapters.take(tuned(name))
    with adapters.using("a"), adapters.using("b"):
        adapters.take(tuned("c"))
        assert sorted(control.loaded) == ["a", "b", "c"]


def test_what_was_there_is_brought_back_but_for_what_is_refused_by_now(
    adapters: Adapters, control: FakeControl, tuned: Callable[..., Tuned]
) -> None:
    adapters.take_again([tuned("large", rank=64), tuned("a")])

    assert list(control.loaded) == ["a"]


@pytest.mark.parametrize(("rank", "config"), [(32, {}), (8, {"rank_pattern": {"q_proj": 24}})])
def test_an_adapter_that_is_too_large_is_refused_with_the_setting_to_change(
    adapters: Adapters, control: FakeControl, tuned: Callable[..., Tuned], rank: int, config: dict[str, Any]
) -> None:
    with pytest.raises(BadRequest, match=r"LOAM_VLLM_LORA_RANK=\d\d") as refused:
        adapters.take(tuned("a", rank, **config))
    assert (refused.value.code, control.loaded) == ("adapter_rank", {})


def test_a_server_that_takes_no_adapters_is_told_apart_from_one_that_refused_this_one(
    adapters: Adapters, control: FakeControl, tuned: Callable[..., Tuned]
) -> None:
    control.refusal = Refusal(404, "HTTP 404")
    with pytest.raises(BadRequest, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        adapters.take(tuned("a"))
    control.refusal = Refusal(404, "No adapter found for <path>")
    with pytest.raises(UpstreamFailed, match="No adapter found"):
        adapters.take(tuned("b"))


def test_other_tokens_than_those_of_training_are_a_mismatch(
    adapters: Adapters, control: FakeControl, tuned: Callable[..., Tuned]
) -> None:
    control.tokens_of = lambda text: [1, *text.encode()]
    with pytest.raises(ModelMismatch, match="'a' is not served: the vLLM server makes other tokens"):
        adapters.take(tuned("a"))
    assert (adapters.speaker("a"), control.loaded) == (None, {})


def test_a_server_that_renders_for_itself_only_is_refused(
    adapters: Adapters, control: FakeControl, tuned: Callable[..., Tuned]
) -> None:
    control.untrusted = True
    with pytest.raises(BadRequest, match="--trust-request-chat-template"):
        adapters.take(tuned("a"))
