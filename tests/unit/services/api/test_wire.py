import pytest
from pydantic import TypeAdapter, ValidationError

from services.api.wire import Attributes, Metadata, Text

ATTRIBUTES: TypeAdapter[Attributes] = TypeAdapter(Attributes)
METADATA: TypeAdapter[Metadata] = TypeAdapter(Metadata)


def test_attributes_keep_their_kinds() -> None:
    given = {"title": "soil", "year": 2024, "share": 0.5, "draft": True}

    assert ATTRIBUTES.validate_python(given) == given
    assert [type(value) for value in ATTRIBUTES.validate_python(given).values()] == [str, float, float, bool]
    assert ATTRIBUTES.dump_json(ATTRIBUTES.validate_python(given))


@pytest.mark.parametrize(
    "value", [None, [], {}, "a" * 513, "a\0", "\ud800", float("nan"), float("inf"), -float("inf"), 10**400]
)
def test_an_attribute_that_cannot_be_kept_is_refused_once(value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        ATTRIBUTES.validate_python({"a": value})

    assert [problem["loc"] for problem in refused.value.errors()] == [("a",)]


@pytest.mark.parametrize("key", ["k" * 65, "a\0", "\ud800"])
def test_a_key_that_cannot_be_kept_is_refused(key: str) -> None:
    for kind in (ATTRIBUTES, METADATA):
        with pytest.raises(ValidationError):
            kind.validate_python({key: "a"})


def test_there_are_at_most_sixteen_pairs() -> None:
    assert len(METADATA.validate_python({str(n): "" for n in range(16)})) == 16
    with pytest.raises(ValidationError):
        METADATA.validate_python({str(n): "" for n in range(17)})


@pytest.mark.parametrize("text", ["a\0b", "\udfff"])
def test_text_that_a_database_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Text).validate_python(text)
