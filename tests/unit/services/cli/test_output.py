import json

import pytest

from services.cli.output import moment, print_json, print_table, size


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("ID", "NAME"), [("vs_1", "handbook"), ("vs_20", None)])
    assert capsys.readouterr().out == "ID     NAME\nvs_1   handbook\nvs_20  -\n"


def test_json_keeps_the_letters_of_every_script(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"quote": "größer als 5 €"})
    assert json.loads(capsys.readouterr().out) == {"quote": "größer als 5 €"}


@pytest.mark.parametrize(
    ("size_bytes", "shown"), [(0, "0 B"), (999, "999 B"), (1_500, "2 kB"), (3_200_000, "3 MB"), (7 * 10**9, "7.0 GB")]
)
def test_sizes_are_given_in_the_unit_that_reads_best(size_bytes: int, shown: str) -> None:
    assert size(size_bytes) == shown


def test_a_moment_is_in_utc_and_nothing_stays_nothing() -> None:
    assert moment(1_767_225_600) == "2026-01-01 00:00"
    assert moment(None) is None
