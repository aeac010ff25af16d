"""What a training measured, as OpenAI's results file: a table in CSV, a line a step."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, Final

FILENAME: Final = "step_metrics.csv"
RESULTS: Final = "fine-tune-results"
COLUMNS: Final = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""OpenAI's columns, in its order, and what fills them."""


def table_of(metrics: Iterable[Mapping[str, Any]]) -> bytes:
    """Give the table of what was measured; what OpenAI has no column for comes after its columns, by name."""
    rows = list(metrics)
    more = sorted({name for row in rows for name in row} - set(COLUMNS.values()))
    columns = COLUMNS | {name: name for name in more}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(name) for name in columns.values()] for row in rows)
    return text.getvalue().encode()
