import pytest

from rag.knowledge.rules import MAX_ENTITIES, TOGETHER, WORD, by_rules
from rag.knowledge.types import Relation


def _named(text, headings=()):
    return {entity.name for entity in by_rules(text, headings).entities if entity.kind != WORD}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("In 1990 Acme Corp hired Jane Roe.", {"Acme Corp", "Jane Roe"}),
        ("The Bank of England lent it to John de la Cruz.", {"Bank of England", "John de la Cruz"}),
        ("When Jane Roe left in May, Globex and Initech closed.", {"Jane Roe", "Globex", "Initech"}),
        ("She moved to Lisbon on Monday in May.", {"Lisbon"}),
        ("They use GPT-4 and the NASA API.", {"GPT-4", "NASA API"}),
        ("Call load_settings() or `vector_stores.search`, then MAX_TOKENS and LoamClient.",
         {"load_settings", "vector_stores.search", "MAX_TOKENS", "LoamClient"}),
        ("nothing has a name here, and 1990 is none.", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_names_acronyms_and_identifiers_are_entities(text, names):
    assert _named(text) == names


def test_a_word_that_only_begins_sentences_is_kept_and_related_to_nothing():
    graph = by_rules("Forewa lies near Lake Bell. Markets open early.")
    assert {entity.key: entity.kind for entity in graph.entities} == {
        "lake bell": "name",
        "forewa": WORD,
        "market": WORD,
    }
    assert graph.relations == ()


def test_a_word_that_has_its_capital_within_a_sentence_is_a_name_at_the_beginning_too():
    assert "Forewa" in _named("Forewa lies by the sea. People of Forewa fish.")


def test_what_stands_between_two_names_relates_them():
    assert by_rules("Acme Corp was founded by Jane Roe.").relations == (
        Relation(subject="acme corp", label="was founded by", object="jane roe"),
    )


def test_names_of_one_sentence_are_related_and_those_of_two_are_not():
    graph = by_rules("We met Ann Lee, who lives far away with nobody near her, and Bo Ray; then Cy Fox. It saw Di Oak.")
    pairs = {(one.subject, one.label, one.object) for one in graph.relations}
    assert ("ann lee", TOGETHER, "bo ray") in pairs
    assert ("ann lee", TOGETHER, "cy fox") in pairs
    assert not any("di oak" in pair for pair in pairs)


def test_what_stands_under_a_heading_is_related_to_it():
    graph = by_rules("She was born in Lisbon.", ("People", "Jane Roe"))
    assert {(entity.key, entity.kind) for entity in graph.entities} >= {("jane roe", "heading"), ("people", "heading")}
    assert Relation(subject="lisbon", label="under", object="jane roe") in graph.relations


def test_what_is_said_of_two_is_not_said_again_for_standing_under_a_heading():
    graph = by_rules("In Lisbon lived Jane Roe.", ("Jane Roe",))
    assert [one.label for one in graph.relations] == ["lived"]


def test_a_long_passage_gives_only_so_many_entities_and_relates_no_others():
    graph = by_rules(" ".join(f"We met Mister Number{chr(65 + n % 26)}{chr(65 + n // 26)}x." for n in range(200)))
    assert len(graph.entities) == MAX_ENTITIES
    keys = {entity.key for entity in graph.entities}
    assert all({one.subject, one.object} <= keys for one in graph.relations)


def test_each_entity_and_each_relation_comes_once():
    graph = by_rules("In May Acme Corp met Jane Roe. In June the ACME CORP met Jane Roe's dog.")
    assert len({entity.key for entity in graph.entities}) == len(graph.entities)
    assert len(set(graph.relations)) == len(graph.relations)
