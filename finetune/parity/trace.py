"""What the trainer itself computed of some examples, kept so that serving can be held against it.

`parity.jsonl` in a job's folder holds one trace a line. A trace has the text of its example, so the file is as
private as the training file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from finetune.errors import UnreadableFile

TRACES = "parity.jsonl"

Split: TypeAlias = Literal["training", "validation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """How the trained model goes on from a prompt when it always takes the likeliest token.

    The prompt is the trace's messages before the one at `turn`. `margins[i]` is by how much (in logprob) token i was
    likelier than the second likeliest: where it is tiny, rounding decides.
    """

    turn: int
    prompt_token_ids: Sequence[int]
    token_ids: Sequence[int]
    margins: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One sequence as it was trained on. `index` counts the examples of its file from 0; a pair has two traces.

    `messages` and `tools` are as the chat API takes them. `token_ids` and `mask` (what is learned) are the collator's,
    `pieces` the tokens as text. `logprobs` are of the learned tokens in order, but for a first token, which follows
    nothing; `untuned_logprobs` the same without the adapter, if there is one. `likeliest` has of each of their places
    the tokens that the model holds for the likeliest with their logprobs, the best first. `cut` says that the length
    limit may have taken the end. `dtype` is what the base computes in, `quantization` is `nf4` or `none`.
    """

    split: Split
    index: int
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    token_ids: Sequence[int]
    mask: Sequence[bool]
    pieces: Sequence[str]
    logprobs: Sequence[float]
    untuned_logprobs: Sequence[float] | None
    cut: bool
    dtype: str
    quantization: str
    bos_token_id: int | None
    continuation: Continuation | None
    likeliest: Sequence[Sequence[tuple[int, float]]] = field(default_factory=list)

    @property
    def learned(self) -> list[int]:
        """Give the positions that `logprobs` are of."""
        return [position for position, learned in enumerate(self.mask) if learned and position]

    @property
    def name(self) -> str:
        """Say which example it is."""
        return f"{self.split} example {self.index + 1}"


def write_traces(path: Path, traces: Sequence[Trace]) -> None:
    """Write the file whole: it is there or it is not."""
    beside = path.with_name(f"{path.name}.new")
    lines = "".join(json.dumps(asdict(trace), ensure_ascii=False) + "\n" for trace in traces)
    beside.write_text(lines, encoding="utf-8")
    beside.replace(path)


def read_traces(path: Path) -> list[Trace]:
    """Raises UnreadableFile."""
    try:
        with path.open(encoding="utf-8") as file:
            return [_trace(json.loads(line)) for line in file]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UnreadableFile(
            f"{str(path)!r} cannot be read as a record of what was trained: {exc}.",
            hint="A tuning job of this loam writes it into the job's folder.",
        ) from exc


def _trace(fields: dict[str, Any]) -> Trace:
    going_on = fields.pop("continuation")
    # Records of before have none.
    likeliest = [[(token, logprob) for token, logprob in place] for place in fields.pop("likeliest", ())]
    continuation = None if going_on is None else Continuation(**going_on)
    return Trace(**fields, continuation=continuation, likeliest=likeliest)
