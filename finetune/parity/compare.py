"""Whether serving is the model that was trained: the trainer's own record held against what serving answers.

Three things are compared. The tokens of each recorded conversation must be the same; the logprobs of its learned
tokens must agree on average within the tolerance of the dtype; and going on from a prompt must take the same tokens,
but where two were so nearly as likely that rounding decides. What failed is said by name. How far the expectations are
apart is measured besides: it says what serving over another base than the trained one costs.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from finetune.errors import NotAnswered
from finetune.parity.divergence import LIKELIEST, divergence
from finetune.parity.reasons import Over, Reason, by_choice, different_prompt, different_tokens, different_weights
from finetune.parity.trace import Continuation, Trace

Ask: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Posts a body to the chat completions of the model in question and gives the answer's. Raises NotAnswered."""

TOLERANCES = {"float32": 1e-4}
TOLERANCE_16_BIT = 2e-2
TIE = 25
"""So many tolerances: between tokens that were nearer than that, rounding may choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How serving compared with training; `reasons` say what failed, and there are none where it `passed`.

    `identical` of the `sequences` have the trainer's very tokens. Differences are of logprobs (natural logarithm)
    over `learned_tokens`, the mean to be at most `tolerance`; `kl_per_token` is the mean divergence KL(trained ||
    served) there in nats, at least, as `divergence` finds it. `greedy_agreement` is the share of the `greedy_tokens` up
    to which continuations agree. Figures are None where nothing could be compared. `engine` is what served, and `over`
    the model whose weights were chosen for it in place of those trained over, where that is known.
    """

    passed: bool
    reasons: tuple[Reason, ...]
    dtype: str
    tolerance: float
    sequences: int
    identical: int
    learned_tokens: int
    mean_logprob_difference: float | None
    max_logprob_difference: float | None
    kl_per_token: float | None
    greedy_tokens: int
    greedy_agreement: float | None
    engine: str | None = None
    over: str | None = None
    compared_at: int | None = None

    def public(self) -> dict[str, Any]:
        """Give it as JSON: on the job, in its event, in the manifest and with the model."""
        return {**asdict(self), "reasons": [asdict(reason) for reason in self.reasons]}

    def sentence(self) -> str:
        """Say it in a line, for people."""
        if not self.passed:
            return f"Parity failed: {' '.join(reason.text for reason in self.reasons)}"
        apart = "" if self.kl_per_token is None else f", KL is {self.kl_per_token:.1e} nats a token"
        greedy = "" if self.greedy_agreement is None else f", greedy answers agree in {self.greedy_agreement:.1%}"
        return (
            f"Parity passed: {self.sequences} sequences have the same tokens, {self.learned_tokens:,} logprobs differ "
            f"by {self.mean_logprob_difference:.1e} on average (at most {self.tolerance:.0e}){apart}{greedy}."
        )


def compare(traces: Iterable[Trace], ask: Ask, *, over: Over | None = None) -> Parity:
    """Hold what was recorded against what `ask` gets from serving, `over` other weights if those were chosen for it.

    Never raises for what serving answers.
    """
    compared = _Compared(over)
    for trace in traces:
        compared.add(trace, ask)
    return compared.parity()


def _replay(trace: Trace) -> dict[str, Any]:
    """Ask for the tokens and logprobs of a whole conversation; vLLM knows the same fields."""
    whole = {"add_generation_prompt": False, "prompt_logprobs": LIKELIEST, "max_tokens": 1}
    return _asking(trace, trace.messages) | whole


def _going_on(trace: Trace, recorded: Continuation) -> dict[str, Any]:
    # A model's own generation config may hold a penalty, which is no part of what was trained.
    greedy = {"max_tokens": len(recorded.token_ids), "repetition_penalty": 1.0}
    return _asking(trace, trace.messages[: recorded.turn]) | greedy


def _asking(trace: Trace, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # The tools are to be in the prompt; what the model makes of them is not to be taken for calls.
    tools = {"tools": list(trace.tools), "tool_choice": "none"} if trace.tools else {}
    return {"messages": list(messages), **tools, "return_token_ids": True, "temperature": 0}


class _Compared:
    """What has been compared so far."""

    def __init__(self, over: Over | None) -> None:
        self._over = over
        self._sequences = 0
        self._identical = 0
        self._served: list[float] = []
        self._trained: list[float] = []
        self._untuned: list[float] = []
        self._apart: list[float] = []
        self._agreed = 0
        self._greedy = 0
        self._failures: dict[str, list[Reason]] = {}
        self._trace: Trace | None = None

    def add(self, trace: Trace, ask: Ask) -> None:
        self._sequences += 1
        self._trace = trace
        try:
            same = self._add_tokens(trace, ask(_replay(trace)))
            if trace.continuation is not None:
                answer = ask(_going_on(trace, trace.continuation))
                self._add_continuation(trace, trace.continuation, answer, same=same)
        except NotAnswered as exc:
            self._fail(Reason(code="unanswered", text=f"Serving did not answer for {trace.name}: {exc}"))

    def parity(self) -> Parity:
        differences = [abs(one - other) for one, other in zip(self._trained, self._served, strict=True)]
        mean = _mean(differences)
        if self._trace is None:
            self._fail(Reason(code="nothing_recorded", text="The trainer recorded no example to compare."))
        # Not "over the tolerance": a NaN is over nothing.
        elif mean is not None and not mean <= self._tolerance:
            self._fail(self._different_weights(self._trace))
            # Other weights go on in other words; that is no failure of its own.
            self._failures.pop("greedy", None)
        return Parity(
            passed=not self._failures,
            reasons=tuple(_summed(reasons) for reasons in self._failures.values()),
            dtype=self._dtype,
            tolerance=self._tolerance,
            sequences=self._sequences,
            identical=self._identical,
            learned_tokens=len(differences),
            mean_logprob_difference=_finite(mean),
            max_logprob_difference=_finite(max(differences, default=None)),
            kl_per_token=_finite(_mean(self._apart)),
            greedy_tokens=self._greedy,
            greedy_agreement=self._agreed / self._greedy if self._greedy else None,
            over=self._over.model_id if self._over else None,
        )

    @property
    def _dtype(self) -> str:
        return "float32" if self._trace is None else self._trace.dtype

    @property
    def _tolerance(self) -> float:
        return TOLERANCES.get(self._dtype, TOLERANCE_16_BIT)

    def _different_weights(self, trace: Trace) -> Reason:
        blamed = different_weights(self._trained, self._served, self._untuned, trace, TOLERANCE_16_BIT)
        apart, agreement = _mean(self._apart), self._agreed / self._greedy if self._greedy else None
        return by_choice(blamed, self._over, trace, apart, agreement) if self._over else blamed

    def _fail(self, reason: Reason) -> None:
        self._failures.setdefault(reason.code, []).append(reason)

    def _add_tokens(self, trace: Trace, answer: Mapping[str, Any]) -> bool:
        """Compare tokens, and logprobs where those are the same; tell whether they are."""
        token_ids, entries = _needed(answer, "prompt_token_ids"), _needed(answer, "prompt_logprobs")
        reason = different_tokens(trace, token_ids, _pieces(token_ids, entries))
        if reason is not None:
            self._fail(reason)
            return False
        self._identical += 1
        self._trained += trace.logprobs
        self._served += [_logprob(entries[place], trace.token_ids[place]) for place in trace.learned]
        self._untuned += trace.untuned_logprobs or ()
        for place, likeliest in zip(trace.learned, trace.likeliest, strict=False):
            self._apart.append(divergence(likeliest, _logprobs(entries[place])))
        return True

    def _add_continuation(self, trace: Trace, recorded: Continuation, answer: Mapping[str, Any], *, same: bool) -> None:
        reason = different_prompt(trace, recorded, _needed(answer, "prompt_token_ids"))
        if reason is not None:
            # What keeps a whole conversation from being the same keeps its beginning from it too.
            if same:
                self._fail(reason)
            return
        served = _needed(_needed(answer, "choices")[0], "token_ids")
        agreed = _agreed(recorded.token_ids, served)
        self._greedy += len(recorded.token_ids)
        self._agreed += agreed
        if agreed < len(recorded.token_ids) and recorded.margins[agreed] > TIE * self._tolerance:
            text = (
                f"Asked to go on in {trace.name}, serving leaves the trained model's greedy answer at token {agreed}, "
                f"which was the likeliest by {recorded.margins[agreed]:.2g}: its way to generate differs."
            )
            self._fail(Reason(code="greedy", text=text))


def _agreed(recorded: Sequence[int], served: Sequence[int]) -> int:
    """Count the tokens up to which both agree; the one that ends an answer may be left out of what is served."""
    for place, (one, other) in enumerate(zip(recorded, served, strict=False)):
        if one != other:
            return place
    return len(recorded) if len(served) >= len(recorded) - 1 else len(served)


def _needed(answer: Mapping[str, Any], field: str) -> Any:
    found = answer.get(field)
    if found is None:
        raise NotAnswered(f"The answer has no {field!r}.", hint="Serve it by an engine that honours parity's fields.")
    return found


def _logprob(entry: Mapping[str, Any] | None, token_id: int) -> float:
    found = (entry or {}).get(str(token_id))
    if found is None:
        raise NotAnswered(f"The answer has no logprob of token {token_id}.")
    return float(found["logprob"])


def _logprobs(entry: Mapping[str, Any] | None) -> dict[int, float]:
    return {int(token): float(told["logprob"]) for token, told in (entry or {}).items()}


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _pieces(token_ids: Sequence[int], entries: Sequence[Mapping[str, Any] | None]) -> dict[int, str]:
    """The served tokens as text, as far as they were given."""
    found = {}
    for token, entry in zip(token_ids, entries, strict=False):
        told = (entry or {}).get(str(token), {}).get("decoded_token")
        if told is not None:
            found[token] = str(told)
    return found


def _summed(reasons: Sequence[Reason]) -> Reason:
    """Say a reason once, however many sequences have it."""
    more = f" (and in {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return Reason(code=reasons[0].code, text=f"{reasons[0].text}{more}")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
