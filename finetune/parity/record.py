"""The trainer's side of parity: before it exits it writes down what the model it has trained makes of some examples.

The sequences are the trainer's own: what its collator gives, never rendered anew. The model computes as it will be
served: in evaluation, without autocast, the adapter in fp32.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune.parity.divergence import LIKELIEST
from finetune.parity.trace import Continuation, Split, Trace, write_traces
from finetune.tokenizer import longest_input
from finetune.types import Example, Turn, sequences
from prompts.chat_format import render, template_of
from prompts.errors import ChatFormatError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Collate: TypeAlias = Callable[[list[Mapping[str, Any]]], Mapping[str, "torch.Tensor"]]

EXAMPLES = 8
CONTINUED_TOKENS = 32
TRIED = 8
"""So many times as many examples are looked at to find short ones that were not cut."""

SHORT_TOKENS = 1024
_IGNORED = -100
_SLICE_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A file as the trainer holds it: `rows[i]`, which its collator takes, was made of `examples[i]`.

    Rows that were packed are of no use here: give them as they were before.
    """

    examples: Sequence[Example]
    rows: Sequence[Mapping[str, Any]]


def record(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    collate: Collate,
    path: Path,
    *,
    training: Rows,
    validation: Rows | None = None,
    max_length: int | None = None,
    count: int = EXAMPLES,
) -> int:
    """Write the traces of up to `count` examples of each file to `path`, and give how many there are.

    `model` is the trained model, unwrapped, with its adapter; it is left in evaluation mode. `collate` gives for one
    row `input_ids` and `labels` or `completion_mask` (TRL's collators for SFT, DPO and KTO do), of a pair first the
    chosen sequence, then the rejected. `max_length` is the limit in tokens that sequences were cut to.
    """
    import torch

    recorder = _Recorder(model, tokenizer, collate, max_length)
    _as_served(model)
    with torch.no_grad():
        traces = list(recorder.traces("training", training, count))
        if validation is not None:
            traces += recorder.traces("validation", validation, count)
    write_traces(path, traces)
    return len(traces)


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A sequence of an example before the model has seen it."""

    split: Split
    index: int
    turns: Sequence[Turn]
    tools: Sequence[Mapping[str, Any]]
    token_ids: list[int]
    mask: list[bool]
    cut: bool


@dataclass(frozen=True, slots=True)
class _Expected:
    """Of each learned token its logprob, and what was the likeliest in its place."""

    logprobs: list[float] = field(default_factory=list)
    likeliest: list[list[tuple[int, float]]] = field(default_factory=list)


class _Recorder:
    """Runs the trained model over the trainer's own sequences."""

    def __init__(
        self, model: Any, tokenizer: "PreTrainedTokenizerBase", collate: Collate, max_length: int | None
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._collate = collate
        self._max_length = max_length
        self._context = longest_input(tokenizer)
        self._device = model.get_input_embeddings().weight.device
        self._dtype = str(model.get_input_embeddings().weight.dtype).removeprefix("torch.")
        self._quantization = "nf4" if getattr(model, "is_loaded_in_4bit", False) else "none"

    def traces(self, split: Split, rows: Rows, count: int) -> Iterator[Trace]:
        for found in self._chosen(split, rows, count):
            for position, sequence in enumerate(found):
                yield self._trace(sequence, continued=position == 0)

    def _chosen(self, split: Split, rows: Rows, count: int) -> list[list[_Sequence]]:
        """Choose examples from all over the file: short ones that were not cut, where there are enough."""
        total = len(rows.examples)
        tried = min(total, TRIED * count)
        stride = -(-tried // count)
        places = [place for start in range(stride) for place in range(start, tried, stride)]
        candidates = [self._sequences(split, rows, place * total // tried) for place in places]
        usable = [found for found in candidates if all(map(self._servable, found))]
        usable.sort(key=lambda found: (any(one.cut for one in found), max(_excess(one) for one in found)))
        return sorted(islice(usable, count), key=lambda found: found[0].index)

    def _sequences(self, split: Split, rows: Rows, index: int) -> list[_Sequence]:
        example, batch = rows.examples[index], self._collate([rows.rows[index]])
        conversations = sequences(example)
        return [
            _Sequence(split, index, turns, example.tools, *_unpadded(batch, row, self._max_length))
            for row, turns in enumerate(conversations)
        ]

    def _servable(self, sequence: _Sequence) -> bool:
        """Tell whether serving can be asked for the whole conversation, with room for a token of its own."""
        if not any(sequence.mask[1:]):
            return False
        whole = len(self._rendered(sequence, sequence.turns, prompt=False)) if sequence.cut else len(sequence.token_ids)
        return self._context is None or whole < self._context

    def _trace(self, sequence: _Sequence, *, continued: bool) -> Trace:
        bos = self._tokenizer.bos_token_id
        expected = self._expected(sequence)
        return Trace(
            split=sequence.split,
            index=sequence.index,
            messages=[_wire(turn) for turn in sequence.turns],
            tools=list(sequence.tools),
            token_ids=sequence.token_ids,
            mask=sequence.mask,
            pieces=[self._tokenizer.decode([token]) for token in sequence.token_ids],
            logprobs=expected.logprobs,
            untuned_logprobs=self._untuned_logprobs(sequence),
            cut=sequence.cut,
            dtype=self._dtype,
            quantization=self._quantization,
            bos_token_id=bos if isinstance(bos, int) else None,
            continuation=self._continuation(sequence) if continued else None,
            likeliest=expected.likeliest,
        )

    def _expected(self, sequence: _Sequence) -> _Expected:
        """What the model expects in the place of each learned token, given all before it."""
        import torch

        ids = torch.tensor([sequence.token_ids], device=self._device)
        learned = [position for position, told in enumerate(sequence.mask) if told and position]
        # The logits at a place are of the token after it.
        places = torch.tensor(learned, device=self._device) - 1
        logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=places).logits[0]
        targets = ids[0, places + 1]
        expected = _Expected()
        for part, target in zip(logits.split(_SLICE_TOKENS), targets.split(_SLICE_TOKENS), strict=True):
            logprobs = part.float().log_softmax(-1)
            expected.logprobs.extend(logprobs.gather(1, target[:, None])[:, 0].tolist())
            best = logprobs.topk(min(LIKELIEST, logprobs.shape[-1]))
            named = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            expected.likeliest.extend(list(zip(tokens, values, strict=True)) for tokens, values in named)
        return expected

    def _untuned_logprobs(self, sequence: _Sequence) -> list[float] | None:
        if not hasattr(self._model, "disable_adapter"):
            return None
        with self._model.disable_adapter():
            return self._expected(sequence).logprobs

    def _continuation(self, sequence: _Sequence) -> Continuation | None:
        """Go on greedily from the prompt of the last turn that is learned, as a client will ask for it."""
        turn = max(index for index, one in enumerate(sequence.turns) if one.trained)
        try:
            prompt = self._rendered(sequence, sequence.turns[:turn], prompt=True)
        except ChatFormatError:
            # Some templates take whole conversations only; a training must not be lost for that.
            return None
        if self._context is not None and len(prompt) + CONTINUED_TOKENS > self._context:
            return None
        token_ids, margins = self._greedy(prompt)
        return Continuation(turn=turn, prompt_token_ids=prompt, token_ids=token_ids, margins=margins)

    def _greedy(self, prompt: list[int]) -> tuple[list[int], list[float]]:
        import torch

        ends = self._ends()
        token_ids: list[int] = []
        margins: list[float] = []
        given, cache = torch.tensor([prompt], device=self._device), None
        while len(token_ids) < CONTINUED_TOKENS and not ends.intersection(token_ids[-1:]):
            output = self._model(input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            logits = output.logits[0, -1].float()
            # Of equals, which 16 bits make often, `topk` takes another one than `argmax` and so than serving.
            token_ids.append(int(logits.argmax()))
            first, second = logits.topk(2).values
            margins.append(float(first - second))
            given = torch.tensor([token_ids[-1:]], device=self._device)
        return token_ids, margins

    def _ends(self) -> set[int]:
        """The tokens that end an answer, by the model's own word."""
        named = self._model.generation_config.eos_token_id
        listed = named if isinstance(named, list) else [named]
        return {token for token in (*listed, self._tokenizer.eos_token_id) if isinstance(token, int)}

    def _rendered(self, sequence: _Sequence, turns: Sequence[Turn], *, prompt: bool) -> list[int]:
        template = template_of(self._tokenizer, tools=bool(sequence.tools))
        messages = [turn.wire() for turn in turns]
        return render(messages, sequence.tools, template, self._tokenizer, prompt=prompt).token_ids


def _as_served(model: Any) -> None:
    """Put the model in the state in which it is served: PEFT loads a 16-bit adapter in fp32, and so does serving."""
    import torch

    model.eval()
    for name, weights in model.named_parameters():
        if "lora_" in name and weights.dtype in (torch.bfloat16, torch.float16):
            weights.data = weights.data.float()


def _unpadded(batch: Mapping[str, Any], row: int, max_length: int | None) -> tuple[list[int], list[bool], bool]:
    """Give the tokens of one row, which of them are learned, and whether the row may have lost its end."""
    token_ids = batch["input_ids"][row].tolist()
    learned = batch["labels"][row] != _IGNORED if "labels" in batch else batch["completion_mask"][row] == 1
    real = batch["attention_mask"][row].tolist() if "attention_mask" in batch else [1] * len(token_ids)
    kept = [place for place, there in enumerate(real) if there]
    cut = max_length is not None and len(kept) >= max_length
    return [token_ids[place] for place in kept], [bool(learned[place]) for place in kept], cut


def _excess(sequence: _Sequence) -> int:
    return max(0, len(sequence.token_ids) - SHORT_TOKENS)


def _wire(turn: Turn) -> dict[str, Any]:
    """A message as the chat API takes it: there the arguments of a call are a text."""
    message = turn.wire()
    for sent, call in zip(message.get("tool_calls", ()), turn.tool_calls, strict=True):
        sent["function"]["arguments"] = call.arguments
    return message
