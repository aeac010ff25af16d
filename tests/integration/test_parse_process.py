"""The process that native parsers run in."""

import sys

import pytest

from rag.parse import close, parse


class Stop(Exception):
    pass


def stop() -> None:
    raise Stop


def test_document_given_up_leaves_nothing_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    close()
    # By its module: the package's `extract` is the function.
    monkeypatch.setattr(sys.modules["rag.parse.extract"], "CHECKPOINT_S", 0)
    with pytest.raises(Stop):
        parse(b"<html><p>given up</p></html>", "a.html", checkpoint=stop)
    assert parse(b"<html><p>read</p></html>", "b.html").text == "read"
    close()
