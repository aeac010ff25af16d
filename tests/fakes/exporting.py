"""The exporters of graphs, run in this process: another would spend seconds on importing torch."""

import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@contextmanager
def exporting_here() -> Iterator[list[str]]:
    """Give the modules that would have been run as programs of their own."""
    from rag.encoders import cross_export, embed_export

    exports = {"rag.encoders.embed_export": embed_export.export, "rag.encoders.cross_export": cross_export.export}
    ran: list[str] = []

    def run(command: Sequence[str], **_: Any) -> SimpleNamespace:
        _, _, module, source, target, precision = command
        ran.append(module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of tracing
            exports[module](Path(source), Path(target), precision)
        return SimpleNamespace(returncode=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", run)
        yield ran
