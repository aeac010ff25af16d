"""The local models of a process: each base is loaded once, has a lane of its own, and goes when another needs room."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from services.engines.local.guide import Guides
from services.engines.local.lane import Lane
from services.engines.local.loaded import Limits, Loaded
from services.engines.local.wanted import WantedModel
from services.engines.local.weights import Weights
from services.errors import NotReady

FINDERS = 4
LOOK_AGAIN_S = 0.2
"""How often one that waits for room looks whether it is still wanted."""


class LocalModels:
    """Making one costs nothing: torch is imported with the first model."""

    def __init__(self, *, most_bases: int, most_waiting: int, limits: Limits | None = None) -> None:
        self._most_bases = most_bases
        self._most_waiting = most_waiting
        self._limits = limits or Limits()
        self._places: OrderedDict[Weights, _Place] = OrderedDict()
        self._folders: dict[Path, _Place] = {}
        self._changed = threading.Condition()
        self._loading = threading.Lock()
        self._room = threading.Lock()
        self.finders = ThreadPoolExecutor(FINDERS, thread_name_prefix="local-find")
        """Threads in which weights are looked for, which may take as long as a hub does to give them."""
        self.guides = Guides()

    def lane(self, wanted: WantedModel, weights: Weights) -> Lane:
        """Give the lane before a model's base."""
        with self._changed:
            place = self._places.get(weights) or self._places.setdefault(weights, self._new_place(weights))
            if wanted.folder is not None:
                self._folders[wanted.folder] = place
            return place.lane

    @contextmanager
    def holding(self, weights: Weights, is_deserted: Callable[[], bool] = lambda: False) -> Iterator[Loaded]:
        """Give a base to its lane's thread, loaded if need be. Raises ModelUnavailable, NotReady."""
        with self._held(self._places[weights]) as place:
            if place.loaded is None:
                with self._loading:
                    self._make_room(is_deserted)
                    place.loaded = Loaded(weights, self._limits)
            yield place.loaded

    def discard(self, folder: Path, remove: Callable[[], None]) -> None:
        """Let a tuned model go, and call `remove` once all who asked it before have been answered."""
        with self._changed:
            place = self._folders.pop(folder, None)
        if place is None:
            remove()
        else:
            place.lane.after_all(lambda: self._discard(place, folder, remove))

    def close(self) -> None:
        """Give up what runs. The weights go with this object."""
        self.finders.shutdown(wait=False, cancel_futures=True)
        self.guides.close()
        with self._changed:
            places = list(self._places.values())
        for place in places:
            place.lane.close()
            place.loaded = None

    def _new_place(self, weights: Weights) -> "_Place":
        lane = Lane(
            most_at_once=self._limits.most_at_once,
            most_waiting=self._most_waiting,
            hold=partial(self.holding, weights),
            is_asked_back=self._room.locked,
        )
        return _Place(weights, lane)

    def _discard(self, place: "_Place", folder: Path, remove: Callable[[], None]) -> None:
        with self._held(place):
            if place.weights.folder == folder:
                place.is_unwanted = True
            elif place.loaded is not None:
                place.loaded.forget(folder)
        remove()

    @contextmanager
    def _held(self, place: "_Place") -> Iterator["_Place"]:
        """Keep a base from being let go. Its lane's thread, and no other, may do so more than once at a time."""
        if place.holds == 0:
            # Whoever waits for room holds this lock: a lane that is never idle must not outrun it.
            with self._room, self._changed:
                place.holds = 1
                self._places.move_to_end(place.weights)
        else:
            place.holds += 1
        try:
            yield place
        finally:
            with self._changed:
                place.holds -= 1
                if place.holds == 0 and place.is_unwanted:
                    place.let_go()
                self._changed.notify_all()

    def _make_room(self, is_deserted: Callable[[], bool]) -> None:
        """Let the least recently used base go where there is one too many, once it is idle."""
        with self._room, self._changed:
            while len(loaded := self._loaded()) >= self._most_bases:
                idle = next((place for place in loaded if place.holds == 0), None)
                if idle is not None:
                    idle.let_go()
                elif is_deserted():
                    raise NotReady("The model was given up before there was room for it.")
                else:
                    self._changed.wait(LOOK_AGAIN_S)

    def _loaded(self) -> "list[_Place]":
        return [place for place in self._places.values() if place.loaded is not None]


class _Place:
    """A base, loaded or not, and the lane before it. While there are `holds` its lane's thread is at work with it.

    One that `is_unwanted` is let go with the last of them.
    """

    def __init__(self, weights: Weights, lane: Lane) -> None:
        self.weights = weights
        self.lane = lane
        self.loaded: Loaded | None = None
        self.holds = 0
        self.is_unwanted = False

    def let_go(self) -> None:
        self.is_unwanted = False
        loaded, self.loaded = self.loaded, None
        if loaded is not None:
            loaded.close()
