"""One forward pass of a base over the next tokens of many sequences, each with its own past and adapter.

Greedy, a sequence comes to the same tokens in any company in float32. What it computes is rounded otherwise in other
company, as matrices of other sizes are multiplied in another order: in bfloat16 tokens that are about as likely may
change places, as they may between `generate` with one prompt and with several.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Literal

from services.engines.local.adapters import Adapters
from services.engines.local.attention import NAME, Group, Kept, Layout, register, unsupported
from services.engines.local.cache import Row, Shelf
from services.engines.local.products import quicken
from services.engines.local.runs import Span
from services.engines.local.stacks import Adapter

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The next `tokens` of the sequence in a row, and of which of their places logits are wanted."""

    row: Row
    tokens: Sequence[int]
    adapter: Adapter | None
    logits: Literal["none", "last", "all"]

    @property
    def shelf(self) -> Shelf:
        assert self.row.shelf is not None, "a row is given room before it is written to"
        return self.row.shelf

    @property
    def order(self) -> tuple[tuple[int, int], bool, int, int]:
        """Tokens of one adapter stand together, and within it single ones in the order of their rows."""
        among = (0, 0) if self.adapter is None else self.adapter.order
        return among, len(self.tokens) > 1, self.shelf.capacity, self.row.index


class Passes:
    """The passes of one model, which is to be asked in no other way from now on. Raises BadRequest if it cannot be."""

    def __init__(self, model: Any, adapters: Adapters) -> None:
        self._model = model
        self._adapters = adapters
        self._windows = _windows(model)
        register()
        quicken(model)
        model.set_attn_implementation(NAME)

    def run(self, segments: Sequence[Segment]) -> "list[torch.Tensor | None]":
        """Read the segments' tokens into their rows; give of each float32 logits [places, vocabulary], or None.

        Rows must have room. After a failure what they held before still holds.
        """
        import torch

        given = sorted(range(len(segments)), key=lambda place: segments[place].order)
        ordered = [segments[place] for place in given]
        starts = [0, *accumulate(len(segment.tokens) for segment in ordered)]
        device = self._model.device
        wanted = [place for segment, start in zip(ordered, starts, strict=False) for place in _wanted(segment, start)]
        ids = torch.tensor([[token for segment in ordered for token in segment.tokens]], device=device)
        positions = torch.tensor([[place for segment in ordered for place in _places(segment)]], device=device)
        layout = Layout(
            kept=list(_kept(ordered, starts, device)), groups=list(_groups(ordered, starts, device)),
            windows=self._windows,
        )  # fmt: skip
        counts, lengths = _counts(ordered), [len(segment.tokens) for segment in ordered]
        with self._adapters.speaking(_spans(ordered, lengths), _spans(ordered, counts)):
            output = self._model(
                input_ids=ids,
                position_ids=positions,
                use_cache=False,
                logits_to_keep=torch.tensor(wanted, dtype=torch.long, device=device),
                layout=layout,
            )
        for segment in ordered:
            segment.row.tokens.extend(segment.tokens)
        parts = output.logits[0].float().split(counts)
        found: list[torch.Tensor | None] = [None] * len(segments)
        for place, part in zip(given, parts, strict=True):
            found[place] = part if len(part) else None
        return found


def _places(segment: Segment) -> range:
    past = len(segment.row.tokens)
    return range(past, past + len(segment.tokens))


def _wanted(segment: Segment, start: int) -> range:
    end = start + len(segment.tokens)
    return {"none": range(0), "last": range(end - 1, end), "all": range(start, end)}[segment.logits]


def _counts(segments: Sequence[Segment]) -> list[int]:
    return [len(_wanted(segment, 0)) for segment in segments]


def _spans(segments: Sequence[Segment], counts: Sequence[int]) -> list[Span]:
    """Give which adapter changes which tokens, of so many of each segment."""
    pairs = zip((segment.adapter for segment in segments), counts, strict=True)
    return [
        Span(tokens=sum(count for _, count in group), adapter=adapter)
        for adapter, group in groupby(pairs, key=lambda pair: pair[0])
    ]


def _kept(segments: Sequence[Segment], starts: Sequence[int], device: Any) -> Iterator[Kept]:
    """Give where each token goes, shelf by shelf."""
    import torch

    tokens: dict[int, list[int]] = {}
    places: dict[int, list[int]] = {}
    shelves = {segment.shelf.capacity: segment.shelf for segment in segments}
    for segment, start in zip(segments, starts, strict=False):
        capacity, begin = segment.shelf.capacity, segment.row.index * segment.shelf.capacity
        tokens.setdefault(capacity, []).extend(range(start, start + len(segment.tokens)))
        places.setdefault(capacity, []).extend(begin + place for place in _places(segment))
    for capacity, shelf in shelves.items():
        these = None if len(shelves) == 1 else torch.tensor(tokens[capacity], device=device)
        yield Kept(shelf=shelf, tokens=these, places=torch.tensor(places[capacity], device=device))


def _groups(segments: Sequence[Segment], starts: Sequence[int], device: Any) -> Iterator[Group]:
    """Give who attends together: neighbours on a shelf that have one token each, and every other segment alone."""
    single: list[tuple[Segment, int]] = []
    for segment, start in zip(segments, starts, strict=False):
        if len(segment.tokens) == 1:
            single.append((segment, start))
        else:
            end = start + len(segment.tokens)
            seen = len(segment.row.tokens) + len(segment.tokens)
            yield Group(
                shelf=segment.shelf, first=segment.row.index, rows=1, queries=len(segment.tokens),
                tokens=slice(start, end), lengths=[seen],
            )  # fmt: skip
    single.sort(key=lambda one: (one[0].shelf.capacity, one[0].row.index))
    for _, run in groupby(enumerate(single), key=lambda one: (one[1][0].shelf.capacity, one[1][0].row.index - one[0])):
        neighbours = [one for _, one in run]
        first = neighbours[0][0]
        yield Group(
            shelf=first.shelf, first=first.row.index, rows=len(neighbours), queries=1,
            tokens=_together([start for _, start in neighbours], device),
            lengths=[len(segment.row.tokens) + 1 for segment, _ in neighbours],
        )  # fmt: skip


def _together(tokens: Sequence[int], device: Any) -> "slice | torch.Tensor":
    import torch

    begin, end = tokens[0], tokens[-1] + 1
    if list(tokens) == list(range(begin, end)):
        return slice(begin, end)
    return torch.tensor(tokens, device=device)


def _windows(model: Any) -> Mapping[int, int]:
    """Give of the layers that see only so many tokens how many. Raises BadRequest for a model of another kind."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    config = model.config.get_text_config(decoder=True)
    refused = unsupported(model.config.model_type)
    # What layers there are transformers tells by the caches that it would make for them.
    try:
        layers = DynamicCache(config=config).layers
    except KeyError as exc:
        raise refused from exc
    known = {type(layer) for layer in layers} <= {DynamicLayer, DynamicSlidingWindowLayer}
    plain = set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}
    if (
        not (known and plain and model._supports_attention_backend)
        or model.config.is_encoder_decoder
        or len(layers) != config.num_hidden_layers
    ):
        raise refused
    return {index: layer.sliding_window for index, layer in enumerate(layers) if layer.is_sliding}
