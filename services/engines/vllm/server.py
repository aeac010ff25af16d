"""One vLLM server: started when it is first asked for, watched, and started again with its adapters when it crashes.

    stopped ──first request──► starting ──► ready ──it ended──► starting (after a pause that grows)
                                   └──it does not start──► given up, until it is asked for again

All of it happens on a thread of its own; whoever wants the server waits for a future.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from finetune.errors import FinetuneError
from services.engines.vllm.adapters import Adapters
from services.engines.vllm.control import Control
from services.engines.vllm.launch import HOST, Launch, free_port, new_key
from services.engines.vllm.process import ServerProcess
from services.engines.vllm.tuned import Tuned, checked
from services.errors import NotReady, ServiceError

log = logging.getLogger(__name__)

LOOK_S = 0.25
HEALTH_S = 2.0
ENDING_S = 1.0
"""How long it takes at most, once a server is silent, until it is seen that it has ended."""
CLOSING_S = 15.0
STEADY_S = 60.0
"""A server that has lived so long did not crash for what it was started with."""
LONGEST_PAUSE_S = 60.0
ASK_AGAIN_S = 10.0
"""How long a server that did not start is not tried again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Running:
    """A server that answers, from one start to its end."""

    base_url: str
    key: SecretStr | None
    adapters: Adapters


class Server(Protocol):
    """Where a declared model is served."""

    def running(self) -> "Future[Running]":
        """Give the server as it runs, or as it will; the future's error is a ServiceError. Starts it if need be."""

    def suspect(self) -> "Future[bool]":
        """Say that it failed somebody: it is looked after at once. Gives whether it had ended."""

    def close(self) -> None:
        """Let it go; one that loam started ends."""


class Supervised:
    """A server that loam starts. Making one costs nothing."""

    def __init__(self, model_id: str, launch: Callable[[], Launch], log_path: Path, *, start_s: float) -> None:
        self._model_id = model_id
        self._launch = launch
        self._log_path = log_path
        self._start_s = start_s
        self._lock = threading.Lock()
        self._future: Future[Running] = Future()
        self._thread: threading.Thread | None = None
        self._given_up = 0.0
        self._suspected = threading.Event()
        self._looked: Future[bool] = Future()
        self._closing = threading.Event()

    def running(self) -> "Future[Running]":
        with self._lock:
            if self._closing.is_set():
                raise self._shutting_down()
            if self._thread is None and time.monotonic() >= self._given_up:
                self._future = Future()
                self._thread = threading.Thread(target=self._supervise, name="vllm", daemon=True)
                self._thread.start()
            return self._future

    def suspect(self) -> "Future[bool]":
        with self._lock:
            self._suspected.set()
            return self._looked

    def close(self) -> None:
        self._closing.set()
        self._suspected.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            # Weights that are being fetched from a hub are not waited for.
            thread.join(CLOSING_S)

    def _supervise(self) -> None:
        try:
            self._keep_up()
        except ServiceError as exc:
            self._give_up(exc)
        except FinetuneError as exc:
            self._give_up(NotReady(str(exc), param="model", code="model_unavailable"))
        except Exception as exc:
            log.exception("vllm_supervisor_failed model=%s", self._model_id)
            self._give_up(NotReady(f"The vLLM server of {self._model_id!r} cannot be watched over: {exc}"))

    def _keep_up(self) -> None:
        crashes, known = 0, list[Tuned]()
        while True:
            process, running = self._begin(known)
            began = time.monotonic()
            try:
                self._future.set_result(running)
                self._watch(process, running)
            finally:
                process.stop()
            if self._closing.is_set():
                raise self._shutting_down()
            crashes = 1 if time.monotonic() - began >= STEADY_S else crashes + 1
            known = running.adapters.taken()
            self._mourn(process, pause_s(crashes))

    def _begin(self, known: Iterable[Tuned]) -> tuple[ServerProcess, Running]:
        """Start it and wait until it answers. Raises NotReady, and what `launch` raises."""
        launch, port, key = self._launch(), free_port(), new_key()
        log.info("vllm_starting model=%s port=%d log=%s", self._model_id, port, self._log_path)
        began = time.monotonic()
        process = ServerProcess(launch.command(port), launch.environment(key), self._log_path)
        try:
            control = Control(base_url=f"http://{HOST}:{port}/v1", key=key)
            self._until_ready(process, control, began + self._start_s)
            adapters = Adapters(
                control,
                lambda tuned: checked(tuned, launch.folder),
                most=launch.adapters,
                rank=launch.rank,
                owner=self._model_id,
            )
            adapters.take_again(known)
        except BaseException:
            process.kill()
            raise
        log.info("vllm_ready model=%s seconds=%.1f", self._model_id, time.monotonic() - began)
        return process, Running(base_url=control.base_url, key=key, adapters=adapters)

    def _until_ready(self, process: ServerProcess, control: Control, deadline: float) -> None:
        while control.health() != "ready":
            if process.has_ended():
                raise self._not_started(f"it ended: {process.last_words()}")
            if time.monotonic() >= deadline:
                raise self._not_started(f"it was not up within {self._start_s:g} s (LOAM_VLLM_START_S)")
            if self._closing.wait(LOOK_S):
                raise self._not_started("loam is being shut down")

    def _watch(self, process: ServerProcess, running: Running) -> None:
        """Wait for the end: of the server, of the engine in it, or of loam."""
        control = Control(base_url=running.base_url, key=running.key)
        look_at = time.monotonic() + HEALTH_S
        while not process.has_ended() and not self._closing.is_set():
            suspected = self._suspected.wait(LOOK_S)
            if not suspected and time.monotonic() < look_at:
                continue
            self._suspected.clear()
            health = control.health()
            if health == "dead" or (health == "silent" and process.has_ended(within_s=ENDING_S)):
                process.kill()
                return
            self._tell(has_ended=False)
            look_at = time.monotonic() + HEALTH_S

    def _mourn(self, process: ServerProcess, wait_s: float) -> None:
        """Let nobody ask it any more, and wait before the next."""
        with self._lock:
            self._future = Future()
        self._tell(has_ended=True)
        said = process.last_words()
        log.warning("vllm_crashed model=%s restarting_in_s=%g said=%s", self._model_id, wait_s, said)
        if self._closing.wait(wait_s):
            raise self._shutting_down()

    def _tell(self, *, has_ended: bool) -> None:
        with self._lock:
            looked, self._looked = self._looked, Future()
        looked.set_result(has_ended)

    def _give_up(self, error: ServiceError) -> None:
        if not self._closing.is_set():
            log.warning("vllm_given_up model=%s error=%s", self._model_id, error)
        with self._lock:
            self._thread = None
            self._given_up = time.monotonic() + ASK_AGAIN_S
            if not self._future.done():
                self._future.set_exception(error)

    def _shutting_down(self) -> NotReady:
        said = f"The vLLM server of {self._model_id!r} is being shut down."
        return NotReady(said, param="model", code="engine_failed")

    def _not_started(self, why: str) -> NotReady:
        said = f"The vLLM server of {self._model_id!r} did not start: {why.rstrip('.')}. Its log is {self._log_path}."
        return NotReady(said, param="model", code="engine_failed")


def pause_s(crashes: int) -> float:
    """Give the pause before another start: none after one crash, then more with each that follows."""
    return 0.0 if crashes <= 1 else min(LONGEST_PAUSE_S, 2.0 ** (crashes - 2))
