from collections.abc import Mapping, Sequence

from services.model_table import fallbacks_of, problems_of
from services.settings import AliasSettings, ModelSettings, Settings


def declared(models: Mapping[str, Sequence[str]], **aliases: AliasSettings) -> Settings:
    made = [ModelSettings(id=name, engine="groq", source=name, fallbacks=tuple(to)) for name, to in models.items()]
    return Settings(models=tuple(made), aliases=aliases)


def said(settings: Settings) -> list[str]:
    return [f"{'.'.join(map(str, place))}: {message}" for place, message in problems_of(settings)]


def test_each_fallback_brings_its_own_right_behind_it() -> None:
    settings = declared({"a": ["b", "d"], "b": ["c"], "c": [], "d": ["c"]})

    assert fallbacks_of(settings, "a") == ("b", "c", "d")
    assert fallbacks_of(settings, "d") == ("c",)
    assert fallbacks_of(settings, "groq/x") == ()


def test_those_of_an_alias_come_last() -> None:
    alias = AliasSettings(model="a", fallbacks=("extractive", "b"))
    settings = declared({"a": ["b"], "b": []}, handbook=alias)

    assert fallbacks_of(settings, "a", "handbook") == ("b", "extractive")


def test_what_may_stand_in_is_of_the_file_or_known_without_it() -> None:
    assert said(declared({"a": ["b", "extractive", "groq/x"], "b": []})) == []
    assert [one.partition(":")[0] for one in said(declared({"a": ["default", "ft:b", "groq/"]}))] == [
        "models.0.fallbacks.0",
        "models.0.fallbacks.1",
        "models.0.fallbacks.2",
    ]


def test_a_circle_is_told_once_with_its_way() -> None:
    settings = declared({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]})

    assert said(settings) == ["models.1.fallbacks: goes in a circle: a → b → c → a"]


def test_a_name_is_had_once() -> None:
    settings = declared({"a": [], "extractive": []}, a=AliasSettings(model="extractive"))

    assert said(settings) == [
        "models.1.id: the name 'extractive' is loam's own; choose another",
        "aliases.a: the name 'a' is that of models.0 already",
    ]


def test_a_fallback_is_named_once() -> None:
    assert said(declared({"a": ["b", "b"], "b": []})) == ["models.0.fallbacks: names 'b' 2 times"]
