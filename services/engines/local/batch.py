"""The sequences that a base goes on with together, joining and leaving between its passes.

In a pass every sequence that is being answered gets its next token, and those whose prompts are still being read get
a part of it read, so that a long prompt holds nobody up for longer than such a part takes.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from services.engines.local.cache import Row, Rows
from services.engines.local.choice import Choice, Event, room_for
from services.engines.local.constraint import restricted
from services.engines.local.errand import Errand
from services.engines.local.logprobs import told
from services.engines.local.passes import Passes, Segment
from services.engines.local.prompt import prompts_of
from services.engines.local.sampling import draw
from services.engines.local.speaker import Speaker
from services.engines.local.text import Token
from services.engines.local.wanted import Asked

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

READ_TOKENS = {"cpu": 256, "cuda": 2048}
"""Tokens of prompts that are read in a pass: about as many as a device needs to work at its full speed."""

KEPT_BYTES = 256 << 20
"""What sequences that have ended may take up for those that begin alike, while nobody is being answered."""


class Answering:
    """A request in the batch: its choices, of which the first of each prompt reads it for the others."""

    def __init__(self, errand: Errand[Event], choices: Sequence[Choice]) -> None:
        self.errand = errand
        self.choices = choices
        self.begun: set[int] = set()

    @property
    def is_over(self) -> bool:
        return self.errand.is_done or self.errand.is_unwanted()

    @contextmanager
    def suffering(self) -> Iterator[None]:
        """Let what goes wrong go wrong for this request alone."""
        try:
            yield
        except Exception as exc:
            self.errand.end(exc)

    def take(self, choice: Choice, token: Token) -> None:
        """Let a choice go on by a token, and tell what comes of it."""
        if choice.number not in self.begun:
            self.begun.add(choice.number)
            self.errand.tell(choice.begun())
        written = choice.take(token)
        if written is not None:
            self.errand.tell(written)
        if all(one.finished for one in self.choices):
            self.errand.end()


_Chosen: TypeAlias = tuple[Answering, Choice, Segment]


class Batch:
    """For one thread at a time, in torch's inference mode; at most `most` sequences are gone on with at once."""

    def __init__(self, passes: Passes, *, most: int, device_type: str) -> None:
        self._passes = passes
        self._most = most
        self._read_tokens = READ_TOKENS.get(device_type, READ_TOKENS["cpu"])
        self._waiting: deque[tuple[Answering, Choice]] = deque()
        self._active: list[tuple[Answering, Choice]] = []
        self.rows = Rows(most)

    @property
    def is_idle(self) -> bool:
        return not self._active and not self._waiting

    @property
    def adapters(self) -> set[int]:
        """The numbers of the adapters that sequences here speak with."""
        choices = [choice for _, choice in (*self._active, *self._waiting)]
        return {choice.speaker.adapter.number for choice in choices if choice.speaker.adapter is not None}

    def join(self, errand: Errand[Event], speaker: Speaker, asked: Asked) -> None:
        """Let a request in. Raises BadRequest, ChatFormatError."""
        prompts = prompts_of(asked, speaker)
        rooms = [room_for(prompt, asked, speaker) for prompt in prompts]
        choices = [
            Choice(speaker, asked, prompts[number], room=rooms[number], index=number * asked.n + place)
            for number in range(len(prompts))
            for place in range(asked.n)
        ]
        answering = Answering(errand, choices)
        self._waiting.extend((answering, choice) for choice in choices)

    def step(self) -> None:
        """Go on by one pass. What goes wrong in it is told to all who are in it, and the next one begins anew."""
        self._let_leave()
        try:
            self._let_in()
            chosen = self._chosen()
            if chosen:
                self._go_on(chosen, self._passes.run([segment for _, _, segment in chosen]))
        except Exception as exc:
            self._fail(exc)
        self._let_leave()
        if self.is_idle:
            self.rows.trim(KEPT_BYTES)

    def _let_leave(self) -> None:
        """Free the rows of those that are done, or that nobody waits for any more."""
        for answering, choice in self._active:
            if (choice.finished or answering.is_over) and choice.row is not None:
                self.rows.free(choice.row)
                choice.row = None
        self._active = [one for one in self._active if one[1].row is not None]
        self._waiting = deque(one for one in self._waiting if not one[0].is_over)

    def _let_in(self) -> None:
        later: list[tuple[Answering, Choice]] = []
        while self._waiting and len(self._active) < self._most:
            answering, choice = self._waiting.popleft()
            if not choice.is_first and choice.number not in answering.begun:
                later.append((answering, choice))
                continue
            owner = 0 if choice.speaker.adapter is None else choice.speaker.adapter.number
            # It is among those who are told if there is no memory for its row.
            self._active.append((answering, choice))
            choice.sit(self.rows.take(choice.tokens, owner, share=not choice.wants_places))
        self._waiting.extendleft(reversed(later))

    def _chosen(self) -> list[_Chosen]:
        """Choose what is read in the next pass: all that was written last, and some of the prompts."""
        left = self._read_tokens
        found: list[_Chosen] = []
        reading = [one for one in self._active if len(one[1].unread(2)) > 1]
        # Whoever has waited longest gets half of it for sure, and the rest goes to those that need least.
        reading[1:] = sorted(reading[1:], key=lambda one: len(one[1].tokens) - len(_row(one[1]).tokens))
        for answering, choice in self._active:
            if (answering, choice) not in reading:
                found.append((answering, choice, self._segment(choice, 1)))
        for place, (answering, choice) in enumerate(reading):
            most = left // 2 if place == 0 and len(reading) > 1 else left
            if most > 0:
                segment = self._segment(choice, most)
                left -= len(segment.tokens)
                found.append((answering, choice, segment))
        return found

    def _segment(self, choice: Choice, most: int) -> Segment:
        row, tokens = _row(choice), choice.unread(most)
        end = len(row.tokens) + len(tokens)
        self.rows.reserve(row, end)
        last = end == len(choice.tokens)
        wants_all = choice.wants_places and choice.is_reading
        logits: Literal["none", "last", "all"] = "all" if wants_all else "last" if last else "none"
        return Segment(row=row, tokens=tokens, adapter=choice.speaker.adapter, logits=logits)

    def _go_on(self, chosen: "Sequence[_Chosen]", seen: "Sequence[torch.Tensor | None]") -> None:
        """Choose the next token of all who are read to their end."""
        import torch

        ready: list[tuple[Answering, Choice]] = []
        rows: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        held: list[tuple[int, torch.Tensor]] = []
        for (answering, choice, segment), logits in zip(chosen, seen, strict=True):
            if logits is None:
                continue
            with answering.suffering():
                choice.see(logits, len(segment.tokens))
                if len(_row(choice).tokens) == len(choice.tokens):
                    bits = choice.allowed()
                    scores.append(choice.scores(logits[-1]))
                    if bits is not None:
                        held.append((len(ready), bits))
                    rows.append(logits[-1])
                    ready.append((answering, choice))
        if not ready:
            return
        tokens = draw([choice.sampling for _, choice in ready], restricted(torch.stack(scores), held))
        # Logprobs are the model's own, whatever was made of them to choose by.
        tops = [choice.asked.top_logprobs for _, choice in ready]
        known = told(rows, tokens, tops)
        for (answering, choice), token in zip(ready, known, strict=True):
            with answering.suffering():
                answering.take(choice, token)

    def _fail(self, failure: Exception) -> None:
        """Tell everybody in the pass, and trust nothing that it may have left half done."""
        import torch

        log.exception("local_pass_failed sequences=%d", len(self._active))
        # Its frames hold on to the tensors of the pass.
        failure = failure.with_traceback(None)
        failed, self._active = self._active, []
        self.rows.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        for answering, _ in failed:
            answering.errand.end(failure)


def _row(choice: Choice) -> Row:
    assert choice.row is not None, "only sequences that have a row are gone on with"
    return choice.row
