import pytest

from services.fast_json import from_json, to_json


def test_text_goes_out_as_it_is() -> None:
    assert to_json({"text": "Grüße — 🌱"}) == '{"text":"Grüße — 🌱"}'.encode()


@pytest.mark.parametrize("value", ["\ud83d", 2**70, {"a": ["\udc00 é"]}])
def test_what_orjson_will_not_take_survives(value: object) -> None:
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize("text", ["{", b"\xff", "", "[1,]"])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        from_json(text)


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises((ValueError, RecursionError)):
        from_json("[" * 100_000)
