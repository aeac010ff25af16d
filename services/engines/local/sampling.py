"""How next tokens are chosen from logits: OpenAI's and vLLM's parameters, for many sequences at once.

What a request leaves open the model's generation config decides, as in vLLM; where that says nothing either, the
temperature is 1, as in OpenAI's API. Each sequence draws from a generator of its own, so that its seed repeats
whatever is chosen beside it.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Protocol

from services.engines.local.wanted import Sampling
from services.errors import BadRequest

if TYPE_CHECKING:
    import torch

GREEDY_BELOW = 1e-5
"""A temperature that is smaller is zero: dividing by it would overflow."""

SEEDS = 2**63


class Processor(Protocol):
    """Changes what may come next in one sequence, before anything is chosen."""

    def process(self, scores: "torch.Tensor") -> "torch.Tensor":
        """Give new scores for float32 [vocabulary], which are not to be changed themselves."""

    def accept(self, token: int) -> None:
        """Learn what was chosen."""


def settled(sampling: Sampling, generation_config: Any) -> Sampling:
    """Fill in what a request leaves open from the model's generation config."""
    open_ = [field.name for field in fields(sampling) if getattr(sampling, field.name) is None]
    known = {name: getattr(generation_config, name, None) for name in open_}
    return replace(sampling, **{name: value for name, value in known.items() if value is not None})


class Chooser:
    """What is chosen in one sequence; one seed gives one sequence. Raises BadRequest for a bias beyond the model's."""

    def __init__(self, sampling: Sampling, *, prompt: Sequence[int], like: "torch.Tensor", choice: int) -> None:
        """`like` is a row of logits such as those to come."""
        import torch

        temperature = 1.0 if sampling.temperature is None else sampling.temperature
        self.temperature = None if temperature < GREEDY_BELOW else temperature
        self.top_k = sampling.top_k or 0
        self.top_p = 1.0 if sampling.top_p is None else sampling.top_p
        self.min_p = sampling.min_p or 0.0
        self.processors = _penalties(sampling, prompt, like)
        self.generator = torch.Generator(like.device)
        if sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed((sampling.seed + choice) % SEEDS)

    @property
    def narrows(self) -> bool:
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


def draw(choosers: Sequence[Chooser], scores: "torch.Tensor") -> list[int]:
    """Choose by scores float32 [sequences, vocabulary], already processed, the token that comes next in each."""
    import torch

    chosen = scores.argmax(-1)
    drawing = [place for place, chooser in enumerate(choosers) if chooser.temperature is not None]
    if drawing:
        places = torch.tensor(drawing, device=scores.device)
        chosen[places] = _drawn([choosers[place] for place in drawing], scores[places])
    tokens: list[int] = chosen.tolist()
    return tokens


def _drawn(choosers: Sequence[Chooser], scores: "torch.Tensor") -> "torch.Tensor":
    """Draw one token of each row, as `torch.multinomial` does, but with a generator a row."""
    import torch

    scores = scores / _column([chooser.temperature or 1.0 for chooser in choosers], scores)
    narrow = [place for place, chooser in enumerate(choosers) if chooser.narrows]
    if narrow:
        places = torch.tensor(narrow, device=scores.device)
        scores[places] = _narrowed([choosers[place] for place in narrow], scores[places])
    luck = torch.empty_like(scores)
    for row, chooser in zip(luck, choosers, strict=True):
        row.exponential_(generator=chooser.generator)
    return (scores.softmax(-1) / luck).argmax(-1)


def _narrowed(choosers: Sequence[Chooser], scores: "torch.Tensor") -> "torch.Tensor":
    """Leave only the likeliest tokens: top_k of them, of these those within top_p, of these those above min_p."""
    import torch

    ordered, tokens = scores.sort(dim=-1, descending=True, stable=True)
    ranks = torch.arange(scores.shape[-1], device=scores.device)
    most = _column([chooser.top_k or scores.shape[-1] for chooser in choosers], scores)
    likely = ordered.masked_fill(ranks >= most, float("-inf")).softmax(-1)
    before = likely.cumsum(-1) - likely
    left = (ranks < most) & (before < _column([chooser.top_p for chooser in choosers], scores))
    left &= likely >= _column([chooser.min_p for chooser in choosers], scores) * likely[:, :1]
    left[:, 0] = True
    return scores.masked_fill(~torch.empty_like(left).scatter_(1, tokens, left), float("-inf"))


def _column(values: Sequence[float], like: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


def _penalties(sampling: Sampling, prompt: Sequence[int], like: "torch.Tensor") -> list[Processor]:
    """What holds for the likeliest token too, in vLLM's order."""
    found: list[Processor] = []
    if sampling.logit_bias:
        if max(sampling.logit_bias) >= len(like):
            raise BadRequest(f"logit_bias names tokens beyond the model's {len(like):,}.", param="logit_bias")
        found.append(_Bias(sampling.logit_bias, like))
    if sampling.repetition_penalty not in (None, 1.0):
        found.append(_Repetition(float(sampling.repetition_penalty), prompt, like))
    if sampling.frequency_penalty or sampling.presence_penalty:
        found.append(_Counting(sampling.frequency_penalty, sampling.presence_penalty, like))
    return found


class _Bias:
    """OpenAI's logit_bias: a token's score is raised by so much."""

    def __init__(self, bias: Any, like: "torch.Tensor") -> None:
        import torch

        self._bias = torch.zeros_like(like)
        for token, value in bias.items():
            self._bias[token] = value

    def process(self, scores: "torch.Tensor") -> "torch.Tensor":
        return scores + self._bias

    def accept(self, token: int) -> None:
        """It holds whatever was chosen."""


class _Repetition:
    """The penalty of transformers and vLLM (arXiv 1909.05858) on all tokens so far, those of the prompt included."""

    def __init__(self, penalty: float, prompt: Sequence[int], like: "torch.Tensor") -> None:
        import torch

        self._penalty = penalty
        self._seen = torch.zeros_like(like, dtype=torch.bool)
        self._seen[torch.tensor(list(prompt), device=like.device)] = True

    def process(self, scores: "torch.Tensor") -> "torch.Tensor":
        import torch

        penalized = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
        return torch.where(self._seen, penalized, scores)

    def accept(self, token: int) -> None:
        self._seen[token] = True


class _Counting:
    """OpenAI's penalties: a token loses `frequency` for each time it was generated, and `presence` once."""

    def __init__(self, frequency: float, presence: float, like: "torch.Tensor") -> None:
        import torch

        self._frequency, self._presence = frequency, presence
        self._counts = torch.zeros_like(like)

    def process(self, scores: "torch.Tensor") -> "torch.Tensor":
        return scores - self._frequency * self._counts - self._presence * (self._counts > 0)

    def accept(self, token: int) -> None:
        self._counts[token] += 1
