"""The fields of one record as it is read: typed access that notes what is wrong instead of raising."""

from typing import Any

from finetune.data.decode import described
from finetune.data.problems import ERRORS, Finding


class Row:
    """An object under a path of the record; all rows of one record share their `findings`."""

    def __init__(self, value: dict[str, Any], path: str = "", findings: list[Finding] | None = None) -> None:
        self.value = value
        self.path = path
        self.findings: list[Finding] = [] if findings is None else findings

    def at(self, key: str) -> str:
        """Give the path of one of the fields."""
        return f"{self.path}.{key}" if self.path else key

    def note(self, code: str, field: str, reason: str) -> None:
        self.findings.append(Finding(code, field, reason))

    def failed(self) -> bool:
        return any(finding.code in ERRORS for finding in self.findings)

    def has(self, key: str) -> bool:
        """Say whether a field is there and not null."""
        return self.value.get(key) is not None

    def under(self, value: object, path: str) -> "Row | None":
        """Give an object within this record as a row, or note that it is none."""
        if isinstance(value, dict):
            return Row(value, path, self.findings)
        self.note("wrong_type", path, f"is {described(value)}, not an object")
        return None

    def text(self, key: str) -> str:
        """Give a text that may be left out, be null or be empty."""
        value = self.value.get(key)
        if value is None:
            return ""
        return value if self._is(value, str, key, "a string") else ""

    def needed_text(self, key: str) -> str:
        if key not in self.value:
            self.missing(key)
            return ""
        value = self.value[key]
        return value if self._is(value, str, key, "a string") else ""

    def objects(self, key: str) -> list["Row"]:
        """Give a list of objects that must be there and must not be empty."""
        if key not in self.value:
            self.missing(key)
            return []
        value = self.value[key]
        if not self._is(value, list, key, "a list"):
            return []
        if not value:
            self.note("empty_list", self.at(key), "is an empty list")
        rows = [self.under(item, f"{self.at(key)}[{index}]") for index, item in enumerate(value)]
        return [row for row in rows if row is not None]

    def truth(self, key: str) -> bool:
        if key not in self.value:
            self.missing(key)
            return False
        value = self.value[key]
        return bool(value) if self._is(value, bool, key, "true or false") else False

    def only(self, known: frozenset[str]) -> None:
        """Note every key that is not among those known."""
        for key in sorted(self.value.keys() - known):
            self.note("unknown_key", self.at(key[:40]), "is not used")

    def missing(self, key: str) -> None:
        self.note("missing_key", self.at(key), "is missing")

    def _is(self, value: object, wanted: type, key: str, name: str) -> bool:
        if isinstance(value, wanted):
            return True
        self.note("wrong_type", self.at(key), f"is {described(value)}, not {name}")
        return False
