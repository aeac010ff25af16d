"""What an embedder is tuned on and measured by, brought together before its weights are loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.data.dataset import Dataset, read
from finetune.data.problems import Finding
from finetune.encoder.queries import Query, Split, merged, passages_of, split
from finetune.encoder.ranking import field
from finetune.encoder.weights import EMBEDDER
from finetune.errors import InvalidDataset
from finetune.job import TuningJob
from finetune.source import Source, locate
from finetune.types import METHODS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """`field` is the passages among which those of the held-out queries are to be found."""

    source: Source
    training: Dataset
    validation: Dataset | None
    split: Split
    field: tuple[str, ...]

    @property
    def queries(self) -> Sequence[Query]:
        """The queries that are trained on."""
        return self.split.training


def gather(job: TuningJob) -> Ground:
    """Raises ModelUnavailable, InvalidDataset, UnreadableFile."""
    training = _read(job.training_file, job.settings.method)
    validation = _read(job.validation_file, job.settings.method) if job.validation_file else None
    known = merged(training.examples)
    measured = merged(validation.examples) if validation else None
    parts = split(known, measured)
    return Ground(
        source=locate(job.base, EMBEDDER),
        training=training,
        validation=validation,
        split=parts,
        field=field(parts.held_out, passages_of((*known, *(measured or ())))),
    )


def _read(path: Path, method: str) -> Dataset:
    dataset = read(path)
    if dataset.format.kind is not METHODS[method]:
        learned = " or ".join(dataset.format.methods)
        dataset.problems.add(Finding("wrong_method", "", f"is a file for {learned}, and the method is {method}"))
        raise InvalidDataset(path.name, dataset.problems)
    return dataset
