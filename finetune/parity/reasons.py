"""Why serving is not the model that was trained: from what differs to the part that is to blame."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetune.parity.trace import Continuation, Trace

AROUND_TOKENS = 4
NEARLY = 0.1
"""What is so many times nearer to one thing than to another is taken for the first."""

_ROLE = re.compile("system|developer|user|assistant|ipython|tool|function|model|human")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What failed: `code` names it for programs, `text` tells it to people.

    `bos`, `roles`, `chat_template`, `tokenizer`: other tokens. `adapter`, `weights`, `dtype`: other logprobs, and
    `quantization` where they are those of a base that was chosen to be served over.
    `prompt`: answers are asked for otherwise than they were trained. `greedy`: other words from the same logprobs.
    `unanswered`, `nothing_recorded`: nothing could be compared.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The model whose weights an adapter was chosen to be served over; `quantization` is `nf4` or `none`.

    One that was `forced` need not be what it was trained over at all.
    """

    model_id: str
    quantization: str
    forced: bool = False


def different_tokens(trace: Trace, served: Sequence[int], pieces: Mapping[int, str]) -> Reason | None:
    """Say how the tokens of a conversation differ, None if they do not; `pieces` are those of `served` as text."""
    trained = list(trace.token_ids)
    # Of a sequence that lost its end, the rest must be the beginning of what is served.
    served = list(served[: len(trained)] if trace.cut else served)
    if served == trained:
        return None
    known = {**pieces, **dict(zip(trace.token_ids, trace.pieces, strict=True))}
    code, text = _blamed(trace, trained, served, known)
    return Reason(code=code, text=f"{text} In {trace.name}, {_shown(trained, served, known)}.")


def different_prompt(trace: Trace, recorded: Continuation, served: Sequence[int]) -> Reason | None:
    """Say how the prompt of an answer differs from the one that it was trained after. None if it does not."""
    prompt, known = list(recorded.prompt_token_ids), dict(zip(trace.token_ids, trace.pieces, strict=True))
    if list(served) != prompt:
        text = f"The prompt of an answer differs. In {trace.name}, {_shown(prompt, list(served), known)}."
        return Reason(code="prompt", text=text)
    began = list(trace.token_ids[: len(prompt)])
    if began != prompt and not trace.cut:
        text = (
            "The chat template prompts for an answer otherwise than it writes one out, so the model is asked in a "
            f"form that it was not trained on. In {trace.name}, {_shown(began, prompt, known)}."
        )
        return Reason(code="prompt", text=text)
    return None


def different_weights(
    trained: Sequence[float], served: Sequence[float], untuned: Sequence[float], trace: Trace, rounding: float
) -> Reason:
    """Say why logprobs of the same tokens differ; `untuned` are those of the base alone, if there is one.

    `rounding` is the mean difference that 16 bits may make.
    """
    off = _mean_difference(trained, served)
    told = f"Logprobs of the same tokens differ by {off:.2g} on average"
    over = f"in {trace.dtype} over {'an NF4' if trace.quantization == 'nf4' else 'an unquantized'} base"
    if len(untuned) == len(served) and _mean_difference(untuned, served) < NEARLY * off:
        return Reason(code="adapter", text=f"{told}: serving answers as the base does, without the adapter.")
    if trace.dtype == "float32" and off <= rounding:
        text = f"{told}, as much as rounding does: it was trained {over}, and another dtype or quantization is served."
        return Reason(code="dtype", text=text)
    text = f"{told}: another adapter, base or quantization is served than was trained, {over}."
    return Reason(code="weights", text=text)


def by_choice(blamed: Reason, over: Over, trace: Trace, apart: float | None, agreement: float | None) -> Reason:
    """Say what it costs to serve over weights that are quantized otherwise than those trained over.

    `apart` is KL in nats a token, `agreement` the share in which greedy answers agree, each None where not measured.
    """
    if blamed.code == "adapter" or over.forced or over.quantization == trace.quantization:
        return blamed
    kinds = {"nf4": "NF4", "none": "unquantized"}
    told = [
        f"trained over {kinds[trace.quantization]} weights and served by choice over the {kinds[over.quantization]} "
        f"ones of {over.model_id!r}, which answer otherwise by the error of quantization"
    ]
    told += [] if apart is None else [f"KL is {apart:.2g} nats a token"]
    told += [] if agreement is None else [f"greedy answers agree in {agreement:.1%}"]
    return Reason(code="quantization", text=f"{blamed.text.partition(':')[0]}: {'; '.join(told)}.")


def _blamed(trace: Trace, trained: list[int], served: list[int], known: Mapping[int, str]) -> tuple[str, str]:
    if _only_beginnings_differ(trained, served, trace.bos_token_id):
        return "bos", "The token that begins a text is put otherwise."
    one, other = _text(trained, known), _text(served, known)
    if one == other:
        return "tokenizer", "The same text becomes other tokens."
    if _ROLE.sub("role", one) == _ROLE.sub("role", other):
        return "roles", "The chat roles are written otherwise."
    for position, message in enumerate(trace.messages):
        said = _squeezed(str(message.get("content") or ""))
        if said and said in _squeezed(one) and said not in _squeezed(other):
            return "roles", f"Message {position}, of the role {message['role']!r}, is left out."
    return "chat_template", "The chat template writes the conversation otherwise."


def _only_beginnings_differ(trained: list[int], served: list[int], bos: int | None) -> bool:
    """Tell whether they are the same but for BOS tokens, or for another token in the place of the first one."""
    if [token for token in trained if token != bos] == [token for token in served if token != bos]:
        return True
    return trained[:1] == [bos] and trained[1:] == served[1:]


def _shown(trained: list[int], served: list[int], known: Mapping[int, str]) -> str:
    """Show both sides around the first difference."""
    place = next((at for at, (one, other) in enumerate(zip(trained, served, strict=False)) if one != other), None)
    place = min(len(trained), len(served)) if place is None else place
    around = slice(max(0, place - AROUND_TOKENS), place + AROUND_TOKENS)
    return f"at token {place}: trained {_text(trained[around], known)!r}, served {_text(served[around], known)!r}"


def _text(token_ids: Sequence[int], known: Mapping[int, str]) -> str:
    return "".join(known.get(token, f"[{token}]") for token in token_ids)


def _squeezed(text: str) -> str:
    """Tokens by themselves may lose a space that they have in a text."""
    return "".join(text.split())


def _mean_difference(ones: Sequence[float], others: Sequence[float]) -> float:
    return math.fsum(abs(one - other) for one, other in zip(ones, others, strict=True)) / len(ones)
