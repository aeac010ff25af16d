"""Which bases are in memory: each once, the least used let go, none while it is at work."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import ModelUnavailable
from finetune.model import Base
from services.engines.local import models as module
from services.engines.local.loaded import Limits
from services.engines.local.models import LocalModels
from services.engines.local.wanted import WantedModel, wanted_tuned
from services.engines.local.weights import Weights
from services.errors import NotReady
from tests.fakes.tuned import MANIFEST

WAIT_S = 10.0


class World:
    """Bases that are loaded by writing it down."""

    def __init__(self, *, most_bases: int) -> None:
        self.models = LocalModels(most_bases=most_bases, most_waiting=9)
        self.loaded: list[str] = []
        self.forgotten: list[str] = []
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()

    def load(self, weights: Weights, _limits: Limits) -> "FakeLoaded":
        self.loaded.append(weights.folder.name)
        assert self.gate.wait(WAIT_S)
        if weights.folder.name == "broken":
            raise ModelUnavailable("no such files")
        return FakeLoaded(self)

    def hold(self, name: str, is_unwanted: Any = lambda: False) -> None:
        wanted, weights = wanted_model(name)
        self.models.lane(wanted, weights)
        with self.models.holding(weights, is_unwanted):
            pass


class FakeLoaded:
    def __init__(self, world: World) -> None:
        self.world = world

    def forget(self, folder: Path) -> None:
        self.world.forgotten.append(folder.name)

    def close(self) -> None:
        self.world.closed += 1


def wanted_model(name: str) -> tuple[WantedModel, Weights]:
    folder = Path("/models", name)
    wanted = WantedModel(id=name, base=Base(source=str(folder)))
    return wanted, Weights(folder=folder, quantization="none", dtype="float32")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(most_bases=2)
    monkeypatch.setattr(module, "Loaded", world.load)
    yield world
    world.gate.set()
    world.models.close()


def test_two_first_requests_load_once(world: World) -> None:
    world.gate.clear()
    wanted, weights = wanted_model("a")
    lane = world.models.lane(wanted, weights)
    assert world.models.lane(wanted, weights) is lane

    heard: list[object] = []

    def ask() -> None:
        with world.models.holding(weights) as loaded:
            heard.append(loaded)

    for _ in range(2):
        lane.after_all(ask)
    world.gate.set()
    lane.close()
    assert (world.loaded, len(set(heard))) == (["a"], 1)


def test_the_least_recently_used_base_makes_room(world: World) -> None:
    for name in ("a", "b", "a", "c", "a", "b"):
        world.hold(name)

    assert world.loaded == ["a", "b", "c", "b"]
    assert world.closed == 2


def test_a_base_at_work_is_waited_for(world: World) -> None:
    wanted, weights = wanted_model("a")
    world.hold("b")
    world.models.lane(wanted, weights)
    with ThreadPoolExecutor(2) as pool:
        with world.models.holding(weights), world.models.holding(wanted_model("b")[1]):
            third = pool.submit(world.hold, "c")
            with pytest.raises(TimeoutError):
                third.result(0.05)
            assert world.loaded == ["b", "a"]
        third.result(WAIT_S)
    assert world.loaded == ["b", "a", "c"]


def test_one_who_has_gone_waits_no_longer_for_room(world: World) -> None:
    for name in ("a", "b"):
        world.hold(name)
    a, b = wanted_model("a")[1], wanted_model("b")[1]
    with world.models.holding(a), world.models.holding(b), pytest.raises(NotReady):
        world.hold("c", lambda: True)


def test_a_model_that_cannot_be_loaded_is_tried_again_and_takes_no_room(world: World) -> None:
    for name in ("a", "b"):
        world.hold(name)
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            world.hold("broken")
    world.hold("b")

    assert world.loaded == ["a", "b", "broken", "broken"]


def test_the_files_of_a_model_go_once_all_before_were_answered(world: World, tmp_path: Path) -> None:
    wanted = wanted_tuned("ft:a", tmp_path, MANIFEST)
    weights = wanted_model("a")[1]
    lane = world.models.lane(wanted, weights)
    removed = threading.Event()
    answering, go = threading.Event(), threading.Event()

    def answer() -> None:
        with world.models.holding(weights):
            answering.set()
            go.wait(WAIT_S)

    lane.after_all(answer)
    assert answering.wait(WAIT_S)
    world.models.discard(tmp_path, removed.set)
    assert not removed.is_set()
    go.set()
    assert removed.wait(WAIT_S)
    assert world.forgotten == [tmp_path.name]


def test_the_files_of_a_model_nobody_asked_go_at_once(world: World, tmp_path: Path) -> None:
    removed: list[bool] = []
    world.models.discard(tmp_path, lambda: removed.append(True))

    assert removed == [True]


def test_a_model_that_was_tuned_whole_is_let_go_with_its_weights(world: World) -> None:
    wanted, weights = wanted_model("full")
    wanted = WantedModel(id="ft:full", base=wanted.base, folder=weights.folder)
    world.models.lane(wanted, weights)
    removed = threading.Event()
    with world.models.holding(weights):
        pass
    world.models.discard(weights.folder, removed.set)
    assert removed.wait(WAIT_S)
    world.hold("full")

    assert world.loaded == ["full", "full"]
