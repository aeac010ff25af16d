"""What a calibration is fitted on, how its threshold is chosen, and when there is too little to fit."""

from dataclasses import replace

import numpy as np
import pytest

from rag.confidence import FEATURES
from rag.errors import InvalidCollection, TooFewAnswers
from rag.evaluate.answers import MEASURES
from rag.evaluate.calibrate import calibrate, fit, is_right
from rag.evaluate.calibrated_report import markdown, public
from rag.evaluate.report import Case, Report

RIGHT = {"answered_of_answerable": 1.0, "containment": 1.0}
WRONG = {"answered_of_answerable": 1.0, "containment": 0.0}
BLUFF = {"refused_of_unanswerable": 0.0}
REFUSED = {"refused_of_unanswerable": 1.0}
MISSED = {"answered_of_answerable": 0.0, "containment": 0.0}


def speaking(**values: float) -> dict[str, float]:
    return dict.fromkeys(FEATURES, 0.0) | values


def cases(count: int, scores: dict[str, float], around: float | None, seed: int = 1) -> list[Case]:
    draw = np.random.default_rng(seed)
    features = [{} if around is None else speaking(quotes_answer=draw.normal(around)) for _ in range(count)]
    return [
        Case(id=f"{seed}-{number}", question="?", scores=scores, features=one) for number, one in enumerate(features)
    ]


def run(*groups: list[Case]) -> Report:
    every = [case for group in groups for case in group]
    return Report(kind="answers", collection="soil", measures=MEASURES, cases=every, setup={"model": "llama"})


EAGER = run(cases(300, RIGHT, 1.0, 1), cases(100, WRONG, -0.5, 2), cases(200, BLUFF, -1.0, 3))


def test_what_speaks_for_right_answers_gets_weight_and_what_never_varies_none() -> None:
    weights = calibrate(EAGER).calibration.weights
    assert weights["quotes_answer"] > 1.0
    assert {weight for name, weight in weights.items() if name != "quotes_answer"} == {0.0}


def test_the_fit_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(2)
    rows = draw.normal(2.0, 3.0, (400, len(FEATURES)))
    right = rows @ draw.normal(size=len(FEATURES)) + draw.logistic(0, 4, 400) > 0
    weights, intercept = fit(rows, right)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    theirs = linear_model.LogisticRegression(C=1.0, tol=1e-8).fit(scaled, right)
    assert list(weights.values()) == pytest.approx(theirs.coef_[0] / rows.std(axis=0), abs=1e-3)
    assert intercept == pytest.approx(theirs.intercept_[0] - rows.mean(axis=0) @ list(weights.values()), abs=1e-2)


@pytest.mark.parametrize("share", [0.8, 0.9, 1.0])
def test_the_threshold_keeps_the_wanted_share_of_the_right_answers(share: float) -> None:
    fitted = calibrate(EAGER, answer_share=share)
    likely = [fitted.calibration.probability(case.features) for case in EAGER.cases if case.scores is RIGHT]
    kept = np.mean([one >= fitted.calibration.threshold for one in likely])
    assert kept == pytest.approx(share, abs=0.05)


def test_questions_that_were_left_out_show_what_it_brings() -> None:
    fitted = calibrate(EAGER)
    before, after = fitted.before, fitted.after
    assert (fitted.fitted_on, after.questions) == (300, 300)
    assert before.at_threshold.balanced_accuracy == 0.5
    assert after.at_threshold.balanced_accuracy is not None and after.at_threshold.balanced_accuracy > 0.7
    assert before.calibration_error == pytest.approx(0.5)
    assert after.calibration_error < 0.1
    assert after.brier < before.brier


def test_refusals_are_not_fitted_on_and_count_as_refused() -> None:
    shy = run(list(EAGER.cases), cases(200, REFUSED, None, 4), cases(100, MISSED, None, 5))
    without, beside = calibrate(EAGER), calibrate(shy)
    assert beside.calibration.weights["quotes_answer"] == pytest.approx(
        without.calibration.weights["quotes_answer"], abs=0.4
    )
    assert beside.before.at_threshold.refused_of_unanswerable == 0.5
    assert beside.before.at_threshold.answered_of_answerable == 0.8


def test_the_order_of_the_questions_decides_nothing_but_which_are_left_out() -> None:
    turned = replace(EAGER, cases=list(reversed(EAGER.cases)))
    assert calibrate(turned).after.at_threshold.precision == pytest.approx(
        calibrate(EAGER).after.at_threshold.precision or 0.0, abs=0.1
    )
    assert calibrate(EAGER) == calibrate(EAGER)


def test_questions_without_a_known_answer_are_left_out() -> None:
    unknown = cases(7, {"answered_of_answerable": 1.0, "citation_recall": 1.0}, 0.0, 6)
    assert calibrate(run(list(EAGER.cases), unknown)).left_out == 7


@pytest.mark.parametrize(
    ("scores", "right"),
    [
        ({"containment": 1.0, "f1": 0.1}, True),
        ({"containment": 0.0, "f1": 0.5}, True),
        ({"key_points": 0.5}, True),
        ({"containment": 0.0, "f1": 0.4, "key_points": 0.4}, False),
        ({}, False),
    ],
)
def test_an_answer_is_right_by_its_words_or_its_points(scores: dict[str, float], right: bool) -> None:
    assert is_right(scores) is right


@pytest.mark.parametrize(
    ("groups", "advice"),
    [
        ((cases(300, RIGHT, 1.0), cases(28, BLUFF, -1.0)), "300 right and 28 wrong .* such as the documents do not"),
        ((cases(28, RIGHT, 1.0), cases(300, BLUFF, -1.0)), "28 right and 300 wrong .* that the documents answer"),
        ((cases(300, MISSED, None), cases(300, REFUSED, None)), "0 right and 0 wrong"),
    ],
)
def test_too_few_answers_of_a_kind_are_refused(groups: tuple[list[Case], ...], advice: str) -> None:
    with pytest.raises(TooFewAnswers, match=advice):
        calibrate(run(*groups))


def test_a_run_that_recorded_nothing_of_its_answers_is_refused() -> None:
    with pytest.raises(InvalidCollection, match="--uncalibrated"):
        calibrate(run(cases(100, RIGHT, None), cases(100, BLUFF, None)))


def test_a_calibration_is_told_to_people_and_programs() -> None:
    fitted = calibrate(EAGER)
    text = markdown(fitted, EAGER)
    assert text.startswith("# Calibration of llama on soil\n")
    assert f"| {fitted.calibration.threshold:.3f} |" in text
    assert "| calibration error | 50.0 |" in text
    found = public(fitted, EAGER)
    assert found["setup"] == {"model": "llama"}
    assert found["after"]["curve"][0]["answered_of_answerable"] == 1.0
