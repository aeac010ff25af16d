"""What holds one sequence to a grammar while it is written: from its beginning, or from where a call begins."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from services.engines.local.calls import Opening
from services.errors import BadRequest

if TYPE_CHECKING:
    import torch
    from llguidance import LLMatcher, LLTokenizer

_BITS: Final = [*(1 << bit for bit in range(31)), -(1 << 31)]
KEPT_BYTES: Final = 256
"""So much of what was written is looked through for the beginning of a call."""


class Constraint:
    """A sequence and its place in a grammar. With an `opening` it is free until that has been written."""

    def __init__(
        self,
        begin: "Callable[[], LLMatcher]",
        tokens: "LLTokenizer",
        ends: frozenset[int],
        opening: Opening | None = None,
    ) -> None:
        self._begin = begin
        self._tokens = tokens
        self._ends = ends
        self._opening = opening
        self._matcher = begin() if opening is None else None
        self._written = b""

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be written."""
        return self._matcher is not None and self._matcher.is_stopped()

    def allowed(self) -> "torch.Tensor | None":
        """Give which tokens may come, a bit each, int32 [words]; None if all may. Raises BadRequest."""
        import torch

        if self._matcher is None:
            return None
        bits = torch.zeros((self._tokens.vocab_size + 31) // 32, dtype=torch.int32)
        self._matcher.unsafe_compute_mask_ptr(bits.data_ptr(), bits.nbytes)
        self._check()
        if self._matcher.is_accepting():
            for token in self._ends:
                if token < self._tokens.vocab_size:
                    bits[token // 32] |= _BITS[token % 32]
        if not bits.any():
            raise _lost("no token fits")
        return bits

    def accept(self, token: int) -> None:
        """Learn what was chosen. Raises BadRequest."""
        if token in self._ends:
            return
        if self._matcher is not None:
            self._matcher.consume_token(token)
            self._check()
        elif self._opening is not None:
            self._watch(token)

    def _watch(self, token: int) -> None:
        self._written += self._tokens.decode_bytes([token])
        text = self._written.decode(errors="ignore")
        assert self._opening is not None, "without an opening there is nothing to wait for"
        found = self._opening.find(text)
        if found is None:
            if not self._opening.at_start:
                self._written = self._written[-KEPT_BYTES:]
            elif text and not self._opening.held(text):
                self._opening = None
            return
        # The token that ended the opening may go beyond it.
        beyond = self._tokens.greedy_tokenize(text[found[1] :])
        matcher = self._begin()
        if matcher.try_consume_tokens(beyond) == len(beyond):
            self._matcher = matcher
        self._opening = None

    def _check(self) -> None:
        assert self._matcher is not None, "only a grammar that has begun can fail"
        if self._matcher.is_error():
            raise _lost(self._matcher.stop_reason())


def restricted(scores: "torch.Tensor", held: "Sequence[tuple[int, torch.Tensor]]") -> "torch.Tensor":
    """Leave of scores float32 [sequences, vocabulary], in the rows that are `held`, those whose bits are set.

    What a model has places for beyond its tokenizer's tokens is left out.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    if not held:
        return scores
    # Models over one base may have tokenizers of different sizes.
    bits = pad_sequence([bits for _, bits in held], batch_first=True).to(scores.device)
    shifts = torch.arange(32, dtype=torch.int32, device=scores.device)
    allowed = ((bits[:, :, None] >> shifts) & 1).bool().flatten(1)[:, : scores.shape[-1]]
    rows = torch.tensor([row for row, _ in held], device=scores.device)
    chosen = torch.full_like(scores[rows], float("-inf"))
    chosen[:, : allowed.shape[1]] = scores[rows, : allowed.shape[1]].masked_fill(~allowed, float("-inf"))
    return scores.index_copy(0, rows, chosen)


def _lost(reason: str) -> BadRequest:
    return BadRequest(
        f"The form that was asked for could not be followed to its end ({reason}): make its schema simpler.",
        param="response_format",
        code="schema_too_complex",
    )
