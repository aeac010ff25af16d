import pytest

from rag.table import columns_at, tables

MARKDOWN = "text/markdown"
PRICES = "| Plant | Price |\n|---|---:|\n| Fern | 4 |\n| Moss | 2 |\n"


def only(text: str, media_type: str = MARKDOWN) -> tuple[str, str, str]:
    """What stands above the rows of the one table there is, its rows, and the names of its columns."""
    (table,) = tables(text, media_type)
    return text[table.start : table.body], text[table.body : table.end], table.columns


def test_table_of_markdown_has_its_columns_and_rows() -> None:
    above, rows, columns = only(f"Before.\n\n{PRICES}\nAfter.")
    assert (above, rows) == ("| Plant | Price |\n|---|---:|\n", "| Fern | 4 |\n| Moss | 2 |")
    assert columns == "Plant | Price"


@pytest.mark.parametrize(
    "text",
    [
        "Fern | 4",
        "| Fern | 4 |\n| Moss | 2 |\n| Reed | 1 |\n",
        f"```\n{PRICES}```\n",
        "| Plant | Price |\n|---|---|\n",
        "| Plant | Price |\n\n|---|---|\n| Fern | 4 |\n",
    ],
    ids=["no bar first", "no dashes", "code", "no rows", "a blank line"],
)
def test_what_is_no_table_is_none(text: str) -> None:
    assert tables(text, MARKDOWN) == []


def test_two_tables_are_two() -> None:
    assert len(tables(f"{PRICES}\n{PRICES}", MARKDOWN)) == 2


def test_columns_below_a_title_are_found() -> None:
    above, rows, columns = only("| Sales |  |  |\n|---|---|---|\n| City | Year | Sum |\n| Bonn | 2021 | 7 |\n")
    assert above.endswith("| City | Year | Sum |\n")
    assert (rows, columns) == ("| Bonn | 2021 | 7 |", "City | Year | Sum")


def test_columns_may_be_years() -> None:
    assert only("| City | 2021 | 2022 |\n|---|---|---|\n| Bonn | 7 | 8 |\n")[2] == "City | 2021 | 2022"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("city,sum\r\nBonn,7\r\n", "city | sum"),
        ('"city, or town",sum\nBonn,7\n', "city, or town | sum"),
        ("city;sum\nBonn;7,5\n", "city | sum"),
        ("Sales,,\ncity,sum,2021\nBonn,7,8\n", "city | sum | 2021"),
    ],
)
def test_first_line_of_a_csv_names_its_columns(text: str, columns: str) -> None:
    assert only(text, "text/csv")[2] == columns


@pytest.mark.parametrize("text", ["", "city,sum\n", "Bonn,7\nRome,8\n", "one\ntwo\nthree\n", "1.5,7\n2,8\n"])
def test_csv_without_names_has_none(text: str) -> None:
    assert tables(text, "text/csv") == []


def test_cells_of_a_tsv_are_parted_by_tabs() -> None:
    assert only("city, town\tsum\nBonn\t7\n", "text/tab-separated-values")[2] == "city, town | sum"


def test_only_rows_below_their_names_go_on_with_them() -> None:
    text = f"Before.\n\n{PRICES}\nAfter."
    found = tables(text, MARKDOWN)
    at = {place: columns_at(found, text.index(place)) for place in ("Before", "Plant", "| Fern", "Moss", "After")}
    assert at == {"Before": "", "Plant": "", "| Fern": "Plant | Price", "Moss": "Plant | Price", "After": ""}
