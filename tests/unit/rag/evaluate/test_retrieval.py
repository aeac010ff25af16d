from rag.evaluate.collection import Collection, Question
from rag.evaluate.retrieval import evaluate_retrieval, positions

COLLECTION = Collection(
    name="soil",
    ids=["a", "b", "c"],
    titles=["", "", ""],
    texts=["one", "two", "three"],
    questions=[Question("1", "Which?", {1: 1}), Question("2", "What?", {2: 1})],
)


def test_a_text_that_is_found_twice_counts_where_it_came_first() -> None:
    told: list[int] = []
    found = {"Which?": [0, 0, 1], "What?": [2]}
    report = evaluate_retrieval(COLLECTION, found.__getitem__, tell=told.append)
    assert [(case.scores["mrr@10"], case.scores["recall@1"], case.given) for case in report.cases] == [
        (0.5, 0.0, "a, b"),
        (1.0, 1.0, "c"),
    ]
    assert told == [1, 2]


def test_what_the_collection_does_not_have_takes_a_place_of_its_own() -> None:
    found = list(positions(["x", "b", "y"], {"a": 0, "b": 1}))
    assert found[1] == 1
    assert len(set(found)) == 3
