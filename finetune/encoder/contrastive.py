"""Contrastive tuning of an embedder: a query is to be nearer to its passage than to all others of the batch.

The loss is sentence-transformers' MultipleNegativesRankingLoss (InfoNCE, arXiv 1807.03748) but for two things.
A passage of the batch that is known to answer a query is no wrong one for it. And queries are embedded apart from
passages, which are ten times as long, so that no query is padded to the length of a passage.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from finetune.encoder.queries import Query
from finetune.encoder.triplets import Row
from finetune.encoder.weights import save_encoder
from finetune.train.trainer import Inputs, JobTrainer

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SCALE = 20.0
"""What cosines are multiplied with before the softmax: a temperature of 0.05."""


class RankingLoss(MultipleNegativesRankingLoss):  # type: ignore[misc]  # sentence-transformers is not typed here
    """Cross entropy of each query's own passage among those of the batch. A batch's labels are its rows' places."""

    def __init__(self, model: "SentenceTransformer", rows: Sequence[Row], queries: Sequence[Query]) -> None:
        super().__init__(model, scale=SCALE)
        self._rows = rows
        self._right = [frozenset(query.passages) for query in queries]

    def forward(self, sentence_features: Sequence[Mapping[str, Any]], labels: torch.Tensor) -> torch.Tensor:
        vectors = [self.model(dict(features))["sentence_embedding"].float() for features in sentence_features]
        queries, *passages = [torch.nn.functional.normalize(one, dim=-1) for one in vectors]
        # Between cosines that bfloat16 takes for equal a softmax would not choose.
        with torch.autocast(queries.device.type, enabled=False):
            scores = queries @ torch.cat(passages).T * self.scale
            scores = scores.masked_fill(self._also_right(labels.tolist()).to(scores.device), -torch.inf)
            return torch.nn.functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))

    def _also_right(self, places: Sequence[int]) -> torch.Tensor:
        """Mark what answers a query though it is not the row's own passage: bool [b, b * columns]."""
        rows = [self._rows[place] for place in places]
        columns = zip(*([row.passage, *row.negatives] for row in rows), strict=True)
        texts = list(chain.from_iterable(columns))
        marks = [[text in self._right[row.query] for text in texts] for row in rows]
        for index, line in enumerate(marks):
            line[index] = False
        return torch.tensor(marks)


class EpochOrder(DefaultBatchSampler):  # type: ignore[misc]
    """Every row once an epoch, in an order that the epoch and the seed alone decide, so that it can be gone on from."""

    def __iter__(self) -> Iterator[list[int]]:
        drawn = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.sampler), generator=drawn).tolist()
        yield from (order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size))


class ContrastiveTrainer(JobTrainer, SentenceTransformerTrainer):  # type: ignore[misc]
    """Learns to rank: the loss is the mean over the queries of a step."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # TRL's trainers have these, and JobTrainer looks into them.
        self._metrics: dict[str, dict[str, list[float]]] = {"train": {}, "eval": {}}
        self._total_train_tokens = 0
        super().__init__(*args, **kwargs)

    def items_in(self, inputs: Inputs) -> int:
        return len(inputs["label"])

    def learned_in(self, inputs: Inputs) -> int:
        return sum(int(value.sum()) for name, value in inputs.items() if name.endswith("attention_mask"))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.args.should_save and output_dir is not None:
            save_encoder(self.accelerator.unwrap_model(self.model), Path(output_dir))

    def add_model_card_callback(self, default_args_dict: Mapping[str, Any]) -> None:
        """Add none: no card is written here."""


def without_dropout(model: "SentenceTransformer") -> None:
    """Turn dropout off. Over a few epochs the result is no worse, and a step on a CPU takes half the time."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def new_trainer(
    model: "SentenceTransformer",
    rows: Sequence[Row],
    queries: Sequence[Query],
    arguments: Mapping[str, Any],
    *,
    limit: int | None,
) -> ContrastiveTrainer:
    """Give a trainer of these rows. `arguments` are transformers' TrainingArguments, `limit` the tokens of a text."""
    columns: dict[str, list[Any]] = {
        "query": [queries[row.query].text for row in rows],
        "positive": [row.passage for row in rows],
    }
    for column in range(len(rows[0].negatives)):
        columns[f"negative_{column}"] = [row.negatives[column] for row in rows]
    columns["label"] = list(range(len(rows)))
    without_dropout(model)
    trainer = ContrastiveTrainer(
        model,
        args=SentenceTransformerTrainingArguments(**arguments, batch_sampler=EpochOrder),
        train_dataset=Dataset.from_dict(columns),
        loss=RankingLoss(model, rows, queries),
    )
    trainer.data_collator.max_length = limit
    return trainer
