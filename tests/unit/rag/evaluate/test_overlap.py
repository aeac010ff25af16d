import pytest

from rag.evaluate.overlap import containment, exact_match, f1


@pytest.mark.parametrize(
    ("given", "right", "exact", "overlap"),
    [
        ("the Normans", ["Normans"], 1.0, 1.0),
        ("Normans!", ["The Norsemen", "normans"], 1.0, 1.0),
        ("in the 10th century", ["10th and 11th centuries", "10th century"], 0.0, 0.8),
        ("", ["Normans"], 0.0, 0.0),
        ("Vikings", ["Normans"], 0.0, 0.0),
        ("a a b", ["b b"], 0.0, 2 / 3),
    ],
)
def test_words_are_compared_as_squad_does(given: str, right: list[str], exact: float, overlap: float) -> None:
    assert exact_match(given, right) == exact
    assert f1(given, right) == pytest.approx(overlap)


@pytest.mark.parametrize(
    ("given", "right", "expected"),
    [
        ("It rose to\n$12 a barrel.", ["$12"], 1.0),
        ("It rose in the mid-1970s.", ["1970s"], 1.0),
        ("It rose in 1973.", ["197", "73"], 0.0),
        ("The NORMANS came.", ["x", "normans"], 1.0),
        ("他住在北京市。", ["北京"], 1.0),
        ("", ["x"], 0.0),
        ("anything", [""], 0.0),
    ],
)
def test_an_answer_holds_a_right_one_as_whole_words(given: str, right: list[str], expected: float) -> None:
    assert containment(given, right) == expected
