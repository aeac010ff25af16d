"""The adapters on one vLLM server: taken on first use after a proof, let go when others need the room."""

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from services.engines.vllm.control import Control, Refusal
from services.engines.vllm.tuned import PROBE, Speaker, Tuned, mismatch, rank_of, verbatim
from services.errors import BadRequest, ServiceError, UpstreamFailed

log = logging.getLogger(__name__)


class Adapters:
    """`most` are kept at once, those in use beside; `rank` is the largest that the server takes, None if unknown."""

    def __init__(
        self, control: Control, check: Callable[[Tuned], Speaker], *, most: int, rank: int | None, owner: str
    ) -> None:
        """`check` holds a tuned model against the base that the server serves, for `owner`."""
        self._control = control
        self._check = check
        self._most = most
        self._rank = rank
        self._owner = owner
        self._taken: OrderedDict[str, Speaker] = OrderedDict()
        self._users: Counter[str] = Counter()
        self._changing = threading.Lock()
        self._counting = threading.Lock()

    def taken(self) -> list[Tuned]:
        """Give the tuned models that are on the server, the one that was used last at the end."""
        with self._counting:
            return [speaker.tuned for speaker in self._taken.values()]

    def speaker(self, name: str) -> Speaker | None:
        """Give a tuned model if it is on the server."""
        with self._counting:
            return self._taken.get(name)

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Keep an adapter from being let go."""
        with self._counting:
            self._users[name] += 1
            if name in self._taken:
                self._taken.move_to_end(name)
        try:
            yield
        finally:
            with self._counting:
                self._users[name] -= 1

    def take(self, tuned: Tuned) -> Speaker:
        """Bring a tuned model onto the server, if it is not there. Raises ModelMismatch, BadRequest, UpstreamFailed."""
        with self._changing:
            if (found := self.speaker(tuned.id)) is not None:
                return found
            speaker = self._check(tuned)
            self._check_rank(tuned)
            self._make_room()
            self._load(tuned)
            try:
                self._prove(speaker)
            except ServiceError:
                self._unload(tuned.id)
                raise
            with self._counting:
                self._taken[tuned.id] = speaker
            log.info("vllm_adapter_taken base=%s model=%s", self._owner, tuned.id)
            return speaker

    def take_again(self, known: Iterable[Tuned]) -> None:
        """Bring back what was on the server before; what is refused by now is told of and left out."""
        for tuned in known:
            try:
                self.take(tuned)
            except ServiceError as exc:
                log.warning("vllm_adapter_lost base=%s model=%s error=%s", self._owner, tuned.id, exc)

    def forget(self, name: str) -> None:
        """Count an adapter as gone, which the server has forgotten, as one that started anew has."""
        with self._counting:
            self._taken.pop(name, None)

    def _check_rank(self, tuned: Tuned) -> None:
        rank = rank_of(tuned.folder)
        if self._rank is not None and rank > self._rank:
            raise BadRequest(
                f"The adapter {tuned.id!r} has rank {rank}, and the server of {self._owner!r} takes {self._rank} at "
                f"most: set LOAM_VLLM_LORA_RANK={rank} and restart.",
                param="model",
                code="adapter_rank",
            )

    def _make_room(self) -> None:
        with self._counting:
            idle = [name for name in self._taken if not self._users[name]]
            surplus = idle[: max(0, len(self._taken) + 1 - self._most)]
            for name in surplus:
                del self._taken[name]
        for name in surplus:
            self._unload(name)

    def _unload(self, name: str) -> None:
        try:
            self._control.unload_adapter(name)
        except (Refusal, UpstreamFailed) as exc:
            log.warning("vllm_adapter_kept base=%s model=%s error=%s", self._owner, name, exc)

    def _load(self, tuned: Tuned) -> None:
        try:
            self._control.load_adapter(tuned.id, tuned.folder)
        except Refusal as refusal:
            if refusal.message in ("HTTP 404", "HTTP 405"):  # no such route, rather than no such adapter
                raise BadRequest(
                    f"The vLLM server of {self._owner!r} takes no adapters while it runs: start it with --enable-lora "
                    "and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True.",
                    param="model",
                    code="adapters_not_allowed",
                ) from refusal
            said = f"The vLLM server of {self._owner!r} did not take the adapter {tuned.id!r}: {refusal.message}"
            raise UpstreamFailed(said, code="adapter_refused") from refusal

    def _prove(self, speaker: Speaker) -> None:
        """Hold the server's tokens of a conversation against those that training would make of it."""
        text, token_ids = speaker.prompt(PROBE)
        try:
            found = self._control.tokens(speaker.tuned.id, PROBE, **verbatim(text))
        except Refusal as refusal:
            raise BadRequest(
                f"The vLLM server of {self._owner!r} does not let the prompts of tuned models be rendered as in "
                f"training: {refusal.message} Start it with --trust-request-chat-template.",
                param="model",
                code="template_not_trusted",
            ) from refusal
        if found != token_ids and not speaker.tuned.forced:
            raise mismatch(speaker.tuned, "the vLLM server makes other tokens of its prompts than its training did.")
