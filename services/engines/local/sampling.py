"""How the next token is chosen from the logits: OpenAI's and vLLM's parameters, transformers' processors.

What a request leaves open the model's generation config decides, as in vLLM; where that says nothing either, the
temperature is 1, as in OpenAI's API.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from services.engines.local.wanted import Sampling

if TYPE_CHECKING:
    import torch

Processor: TypeAlias = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""Takes token ids int64 [1, n] and scores float32 [1, vocabulary], gives scores."""

GREEDY_BELOW = 1e-5
"""A temperature that is smaller is zero: dividing by it would overflow."""

SEEDS = 2**63


def settled(sampling: Sampling, generation_config: Any) -> Sampling:
    """Fill in what a request leaves open from the model's generation config."""
    open_ = [field.name for field in fields(sampling) if getattr(sampling, field.name) is None]
    known = {name: getattr(generation_config, name, None) for name in open_}
    return replace(sampling, **{name: value for name, value in known.items() if value is not None})


class Chooser:
    """Chooses one token after another for one choice of a request; one seed gives one sequence."""

    def __init__(self, sampling: Sampling, *, prompt_tokens: int, device: "torch.device", choice: int) -> None:
        import torch

        temperature = 1.0 if sampling.temperature is None else sampling.temperature
        self._greedy = temperature < GREEDY_BELOW
        self._processors = [*_penalties(sampling, prompt_tokens), *([] if self._greedy else _warpers(sampling))]
        self._generator = torch.Generator(device)
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed((sampling.seed + choice) % SEEDS)

    def choose(self, ids: Sequence[int], logits: "torch.Tensor") -> int:
        """Choose the token after `ids`, prompt included, by the logits float32 [vocabulary] of its place."""
        import torch

        scores = logits[None]
        if self._processors:
            before = torch.tensor([list(ids)], device=logits.device)
            for process in self._processors:
                scores = process(before, scores)
        if self._greedy:
            return int(scores[0].argmax())
        return int(torch.multinomial(scores[0].softmax(-1), 1, generator=self._generator))


def _penalties(sampling: Sampling, prompt_tokens: int) -> list[Processor]:
    """What holds for the likeliest token too, in vLLM's order."""
    from transformers import RepetitionPenaltyLogitsProcessor

    found: list[Processor] = []
    if sampling.logit_bias:
        found.append(_bias(sampling))
    if sampling.repetition_penalty not in (None, 1.0):
        found.append(RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
    if sampling.frequency_penalty or sampling.presence_penalty:
        found.append(_counting(sampling, prompt_tokens))
    return found


def _warpers(sampling: Sampling) -> list[Processor]:
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    found: list[Processor] = []
    if sampling.temperature not in (None, 1.0):
        found.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None and sampling.top_p < 1:
        found.append(TopPLogitsWarper(float(sampling.top_p)))
    if sampling.min_p:
        found.append(MinPLogitsWarper(float(sampling.min_p)))
    return found


def _bias(sampling: Sampling) -> Processor:
    bias = dict(sampling.logit_bias or {})

    def add(_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        biased = scores.clone()
        for token, value in bias.items():
            biased[:, token] += value
        return biased

    return add


def _counting(sampling: Sampling, prompt_tokens: int) -> Processor:
    """OpenAI's penalties: a token loses `frequency` for each time it was generated, and `presence` once."""
    frequency, presence = sampling.frequency_penalty, sampling.presence_penalty

    def penalize(ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        counts = ids[0, prompt_tokens:].bincount(minlength=scores.shape[-1])
        return scores - frequency * counts - presence * (counts > 0)

    return penalize
