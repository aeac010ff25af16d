import pytest

from rag.knowledge.names import MAX_NAME_WORDS, key_of, keys_within, longest, runs_of


@pytest.mark.parametrize(
    "written",
    ["Acme Corp", "ACME  Corp.", "the Acme Corp", "acme corp's", "Acme Corp’s", "Acme Corps", "\n Acme\tCorp,"],
)
def test_a_name_has_one_key_however_it_is_written(written):
    assert key_of(written) == "acme corp"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("policies", "policy"),
        ("boxes", "box"),
        ("Texas", "texa"),
        ("glass", "glass"),
        ("status", "status"),
        ("GPT-4", "gpt-4"),
        ("load_settings", "load_setting"),
        ("C++", "c++"),
        ("東京", "東京"),
        ("The", "the"),
        ("…", ""),
    ],
)
def test_only_simple_plurals_are_made_singular(written, key):
    assert key_of(written) == key


def test_a_question_is_looked_up_in_every_run_of_its_words():
    keys = {run.key for run in runs_of("who runs Acme Corp's mill?")}
    assert {"acme corp", "acme", "mill", "who runs acme corp mill"} <= keys


def test_a_name_within_a_longer_one_is_not_meant():
    runs = runs_of("the mayor of New York City and York")
    assert longest(runs, {"new york city", "york", "mayor"}) == ["new york city", "mayor", "york"]


def test_text_without_spaces_is_looked_up_by_runs_of_characters():
    assert {"東京", "本社"} <= {run.key for run in runs_of("東京本社はどこですか")}


def test_runs_stay_few_whatever_the_question():
    assert len(runs_of("word " * 100_000)) < 600
    assert runs_of("") == runs_of("?!") == []


def test_what_of_a_text_can_be_a_name():
    found = keys_within("Acme Corp was founded by Jane Roe.")
    assert {"acme corp", "jane roe", "founded"} <= found
    assert max(len(key.split()) for key in found) == MAX_NAME_WORDS
