"""Jobs are listed by their metadata, as the SDK writes the filter."""

import pytest

from services.api.fine_tuning.service import metadata_filter
from services.errors import BadRequest


def test_without_a_filter_there_is_none() -> None:
    assert metadata_filter([("limit", "3"), ("after", "x")]) is None


def test_every_pair_must_be_carried() -> None:
    wanted = metadata_filter([("metadata[team]", "kitchen"), ("metadata[note]", "")])
    assert wanted is not None
    assert wanted({"team": "kitchen", "note": "", "more": "x"})
    assert not wanted({"team": "kitchen"})
    assert not wanted({"team": "cellar", "note": ""})
    assert not wanted(None)


def test_null_is_for_jobs_without_metadata() -> None:
    wanted = metadata_filter([("metadata", "null")])
    assert wanted is not None
    assert (wanted(None), wanted({})) == (True, False)


@pytest.mark.parametrize(
    "query",
    [
        [("metadata", "x")],
        [("metadata", "null"), ("metadata[a]", "b")],
        [("metadata[a]", "b"), ("metadata[a]", "c")],
    ],
)
def test_filter_that_means_nothing_is_refused(query: list[tuple[str, str]]) -> None:
    with pytest.raises(BadRequest, match=r"metadata\[key\]=value"):
        metadata_filter(query)
