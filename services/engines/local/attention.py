"""Attention over rows of different lengths, in place of transformers' own; registered with it under `NAME`.

All tokens of a pass stand in one sequence [1, tokens], each attending to the row that it belongs to: no token is
padding, and prompts are read in the same pass in which answers are written. A model that follows transformers'
attention interface builds no masks for a name such as this one, and hands on the keyword `layout`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.engines.local.cache import Layer, Shelf
from services.errors import BadRequest

if TYPE_CHECKING:
    import torch

NAME = "loam_rows"

LEFT_OUT = ("s_aux", "position_bias", "alibi_bias")
"""What attention of other kinds takes beside keys and values."""

MOST_GROUPED = 256
"""The largest head dimension for which CUDA's kernels take fewer heads of keys than of queries."""


@dataclass(slots=True, kw_only=True)
class Group:
    """Tokens that attend together: one for each of `rows` rows from `first` on, or `queries` of them for a single row.

    `tokens` are their places in the pass; `lengths` says of each row how much of it its last token sees.
    """

    shelf: Shelf
    first: int
    rows: int
    queries: int
    tokens: "slice | torch.Tensor"
    lengths: Sequence[int]
    masks: "dict[int | None, torch.Tensor | None]" = field(default_factory=dict)

    def begin(self, window: int | None) -> int:
        """Give the first place in the rows that any of the tokens sees."""
        return 0 if window is None else max(0, min(self.lengths) - self.queries + 1 - window)

    def mask(self, window: int | None, like: "torch.Tensor") -> "torch.Tensor | None":
        """Give what is added to scores [rows, 1, queries, seen]; None if all is seen, or all but what is to come."""
        if window not in self.masks:
            self.masks[window] = self._mask(window, like)
        return self.masks[window]

    def _mask(self, window: int | None, like: "torch.Tensor") -> "torch.Tensor | None":
        import torch

        begin, end = self.begin(window), max(self.lengths)
        narrow = window is not None and end - begin > window
        if self.rows == 1 and not narrow and (self.queries == 1 or self.queries == end):
            return None
        if self.rows > 1 and not narrow and min(self.lengths) == end:
            return None
        ends = torch.tensor(self.lengths, device=like.device).view(-1, 1, 1, 1)
        last = ends - self.queries + torch.arange(self.queries, device=like.device).view(1, 1, -1, 1)
        places = torch.arange(begin, end, device=like.device)
        seen = places <= last
        if window is not None:
            seen &= places > last - window
        return torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(~seen, float("-inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where tokens of a pass, or for None all of them, are kept on a shelf, its rows being one behind the other."""

    shelf: Shelf
    tokens: "torch.Tensor | None"
    places: "torch.Tensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the tokens of a pass lie in the rows. `windows` gives of layers that see only so many tokens how many."""

    kept: Sequence[Kept]
    groups: Sequence[Group]
    windows: Mapping[int, int]


def register() -> None:
    """Let transformers know this attention."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


def attend(
    module: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    _mask: "torch.Tensor | None",
    *,
    layout: Layout,
    scaling: float | None = None,
    softcap: float | None = None,
    **others: Any,
) -> "tuple[torch.Tensor, None]":
    """Keep keys and values [1, heads, tokens, dimensions] in their rows; give [1, tokens, heads, dimensions]."""
    if any(others.get(name) is not None for name in LEFT_OUT):
        raise unsupported(module.config.model_type)
    window = layout.windows.get(module.layer_idx)
    for kept in layout.kept:
        _keep(kept, kept.shelf.layer(module.layer_idx, key, value), key, value)
    seen = []
    for group in layout.groups:
        rows = group.shelf.layer(module.layer_idx, key, value)
        see = _several if group.rows > 1 else _one
        seen.append(see(group, query, rows, window, scaling, softcap))
    if len(seen) == 1 and isinstance(layout.groups[0].tokens, slice):
        return seen[0][None], None
    whole = query.new_empty(query.shape[2], *seen[0].shape[1:])
    for group, part in zip(layout.groups, seen, strict=True):
        whole[group.tokens] = part
    return whole[None], None


def unsupported(model_type: str) -> BadRequest:
    return BadRequest(
        f"The local engine cannot run a {model_type!r} model: it keeps its past in a way of its own.",
        param="model",
        code="unsupported_model",
    )


def _keep(kept: Kept, rows: Layer, key: "torch.Tensor", value: "torch.Tensor") -> None:
    for part, states in zip(rows, (key, value), strict=True):
        tokens = states[0].transpose(0, 1)
        part.flatten(0, 1).index_copy_(0, kept.places, tokens if kept.tokens is None else tokens[kept.tokens])


def _several(
    group: Group, query: "torch.Tensor", rows: Layer, window: int | None, scaling: float | None, softcap: float | None
) -> "torch.Tensor":
    """Attend with one token for each of several rows: [rows, heads, dimensions].

    Heads that share keys stand where queries of one sequence would, so that no key is repeated.
    """
    keys, values = _part(group, rows, window)
    asking = query[0].transpose(0, 1)[group.tokens]
    packed = asking.reshape(group.rows, keys.shape[1], -1, asking.shape[-1])
    found = _attention(packed, keys, values, group.mask(window, query), scaling, softcap, is_causal=False)
    return found.reshape(group.rows, asking.shape[1], -1)


def _one(
    group: Group, query: "torch.Tensor", rows: Layer, window: int | None, scaling: float | None, softcap: float | None
) -> "torch.Tensor":
    """Attend with one or more tokens of a single row: [queries, heads, dimensions]."""
    keys, values = _part(group, rows, window)
    mask = group.mask(window, query)
    is_causal = mask is None and group.queries > 1
    found = _attention(query[:, :, group.tokens], keys, values, mask, scaling, softcap, is_causal=is_causal)
    return found[0].transpose(0, 1)


def _part(group: Group, rows: Layer, window: int | None) -> Layer:
    """Give what is seen of the rows, as [rows, heads, seen, dimensions]."""
    within, places = slice(group.first, group.first + group.rows), slice(group.begin(window), max(group.lengths))
    keys, values = rows
    return keys[within, places].transpose(1, 2), values[within, places].transpose(1, 2)


def _attention(
    query: "torch.Tensor",
    keys: "torch.Tensor",
    values: "torch.Tensor",
    mask: "torch.Tensor | None",
    scaling: float | None,
    softcap: float | None,
    *,
    is_causal: bool,
) -> "torch.Tensor":
    from torch.nn.functional import scaled_dot_product_attention

    times = query.shape[1] // keys.shape[1]
    alike = mask is None and keys.shape[-1] == values.shape[-1] <= MOST_GROUPED
    if times > 1 and (softcap is not None or not (alike or query.device.type == "cpu")):
        keys, values, times = keys.repeat_interleave(times, 1), values.repeat_interleave(times, 1), 1
    if softcap is not None:
        return _capped(query, keys, values, mask, scaling, softcap, is_causal=is_causal)
    return scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=is_causal, scale=scaling, enable_gqa=times > 1
    )


def _capped(
    query: "torch.Tensor",
    keys: "torch.Tensor",
    values: "torch.Tensor",
    mask: "torch.Tensor | None",
    scaling: float | None,
    softcap: float,
    *,
    is_causal: bool,
) -> "torch.Tensor":
    """Attend with scores that are held below a cap, as Gemma 2 does, which no kernel of torch knows."""
    import torch

    scores = query @ keys.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = (scores / softcap).tanh() * softcap
    if is_causal:
        to_come = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu_(1)
        scores = scores.masked_fill(to_come, float("-inf"))
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ values
