"""Fits the extractive answerer's coefficients and draws what each threshold would answer.

    python -m tests.quality.calibrate_abstention --data ../shared/data --out /tmp/calibration

prints the coefficients for rag/calibration.py and writes the curve on the articles that were not
fitted on as curve.md and curve.png. Needs scikit-learn and matplotlib, and some minutes.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from rag.calibration import Calibration
from rag.cite import Quote
from rag.encoders.embed import open_embedder
from rag.evidence import ABSTENTION, SELECTION
from rag.extract import gather
from rag.ports import Embedder
from tests.quality.asked import Asked, Kind, Round, rounds
from tests.quality.kept import Kept

SHARES = {Kind.ANSWERABLE: 0.5, Kind.ADVERSARIAL: 0.375, Kind.FOREIGN: 0.125}
"""The mixture that a probability of .5 is even for."""

ANSWERED_OF_ANSWERABLE = 0.90
THRESHOLDS = np.arange(0.1, 0.95, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question with both kinds of features of its n candidates, and which of them hold the answer."""

    round: str
    asked: Asked
    selection: NDArray[np.float64]
    abstention: NDArray[np.float64]
    holds_answer: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        graphs = options.out / "embedder"
        embedder = Kept(open_embedder("all-MiniLM-L6-v2", cache_dir=graphs), graphs)
        cases = [case for one in rounds(options.data, embedder, Path(folder)) for case in cases_of(one, embedder)]
    calibration = fit([case for case in cases if case.asked.half == 0])
    print(calibration)
    unseen = [case for case in cases if case.asked.half == 1]
    table = curve(unseen, calibration)
    print(table)
    (options.out / "curve.md").write_text(table)
    draw(unseen, calibration, options.out / "curve.png")


def cases_of(one: Round, embedder: Embedder) -> list[Case]:
    """Ask all questions of a round; those for which nothing is found are refused anyway and left out."""
    cases = []
    for asked in one.asked:
        gathered = gather(asked.question, one.search(asked.question), embedder)
        if gathered is not None:
            candidates = range(len(gathered.quotes))
            case = Case(
                round=one.name,
                asked=asked,
                selection=gathered.evidence.selection_features(),
                abstention=np.array([gathered.evidence.abstention_features(i) for i in candidates]),
                holds_answer=np.array([holds_answer(quote, asked) for quote in gathered.quotes]),
            )
            cases.append(case)
    return cases


def holds_answer(quote: Quote, asked: Asked) -> bool:
    """Whether a quote is of the passage that the question was asked about and holds an answer, where it stands."""
    if asked.kind is not Kind.ANSWERABLE or quote.hit.passage.text != asked.passage:
        return False
    return any(quote.span.start <= start and start + len(text) <= quote.span.end for start, text in asked.answers)


def fit(cases: Sequence[Case]) -> Calibration:
    """Fit both models on these cases; the threshold answers ANSWERED_OF_ANSWERABLE of the answerable ones."""
    selection = fit_selection([case for case in cases if case.holds_answer.any()])
    rows = np.array([case.abstention[chosen(case, selection)] for case in cases])
    abstention, intercept = fit_abstention(rows, [case.asked.kind for case in cases])
    probabilities = 1 / (1 + np.exp(-(rows @ abstention) - intercept))
    answerable = probabilities[[case.asked.kind is Kind.ANSWERABLE for case in cases]]
    return Calibration(
        selection=named(SELECTION, selection),
        abstention=named(ABSTENTION, abstention),
        intercept=round(intercept, 2),
        threshold=round(float(np.quantile(answerable, 1 - ANSWERED_OF_ANSWERABLE)), 2),
    )


def fit_selection(cases: Sequence[Case], decay: float = 1.0) -> NDArray[np.float64]:
    """Give the weights under which a softmax over a question's sentences is likeliest to fall on the answer."""
    from scipy.optimize import minimize

    scale = np.concatenate([case.selection for case in cases]).std(axis=0)
    scaled = [case.selection / scale for case in cases]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, gradient = decay / 2 * float(weights @ weights), decay * weights
        for features, case in zip(scaled, cases, strict=True):
            scores = features @ weights
            likely = np.exp(scores - scores.max())
            right = likely * case.holds_answer
            total -= float(np.log(right.sum() / likely.sum()))
            gradient -= features.T @ (right / right.sum() - likely / likely.sum())
        return total, gradient

    fitted: NDArray[np.float64] = minimize(loss, np.zeros(len(SELECTION)), jac=True, method="L-BFGS-B").x
    return fitted / scale


def fit_abstention(rows: NDArray[np.float64], kinds: Sequence[Kind]) -> tuple[NDArray[np.float64], float]:
    from sklearn.linear_model import LogisticRegression

    scale = rows.std(axis=0)
    weights = np.array([SHARES[kind] / kinds.count(kind) for kind in kinds]) * len(kinds)
    model = LogisticRegression().fit(rows / scale, [kind is Kind.ANSWERABLE for kind in kinds], sample_weight=weights)
    return model.coef_[0] / scale, float(model.intercept_[0])


def chosen(case: Case, selection: NDArray[np.float64]) -> int:
    return int((case.selection @ selection).argmax())


def named(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(value), 2) for name, value in zip(names, values, strict=True)}


def probabilities(cases: Sequence[Case], calibration: Calibration) -> NDArray[np.float64]:
    selection = np.array([calibration.selection[name] for name in SELECTION])
    abstention = np.array([calibration.abstention[name] for name in ABSTENTION])
    rows = np.array([case.abstention[chosen(case, selection)] for case in cases])
    return 1 / (1 + np.exp(-(rows @ abstention) - calibration.intercept))


def answered_shares(cases: Sequence[Case], likely: NDArray[np.float64], threshold: float) -> dict[Kind, float]:
    kinds = np.array([case.asked.kind for case in cases])
    return {kind: float((likely[kinds == kind] >= threshold).mean()) for kind in Kind}


def curve(cases: Sequence[Case], calibration: Calibration) -> str:
    """Give two Markdown tables: what each threshold answers, and each round at the calibrated one."""
    likely = probabilities(cases, calibration)
    lines = [
        "| threshold | answerable answered | foreign refused | adversarial refused | balanced accuracy, adversarial |",
        "|---|---|---|---|---|",
    ]
    for threshold in sorted({*np.round(THRESHOLDS, 2).tolist(), calibration.threshold}):
        share = answered_shares(cases, likely, threshold)
        balanced = (share[Kind.ANSWERABLE] + 1 - share[Kind.ADVERSARIAL]) / 2
        cells = (share[Kind.ANSWERABLE], 1 - share[Kind.FOREIGN], 1 - share[Kind.ADVERSARIAL], balanced)
        mark = "**" if threshold == calibration.threshold else ""
        lines.append(f"| {mark}{threshold:.2f}{mark} | " + " | ".join(f"{100 * cell:.1f}" for cell in cells) + " |")
    lines += ["", "| round | kind | questions | answered |", "|---|---|---|---|"]
    by_round = sorted(zip(cases, likely, strict=True), key=_round_of)
    for (name, kind), group in groupby(by_round, key=_round_of):
        answered = [probability >= calibration.threshold for _, probability in group]
        lines.append(f"| {name} | {kind} | {len(answered)} | {100 * np.mean(answered):.1f} |")
    return "\n".join(lines) + "\n"


def _round_of(pair: tuple[Case, float]) -> tuple[str, str]:
    return pair[0].round, pair[0].asked.kind.value


def draw(cases: Sequence[Case], calibration: Calibration, path: Path) -> None:
    from matplotlib import pyplot

    likely = probabilities(cases, calibration)
    thresholds = np.linspace(0, 1, 101)
    shares = [answered_shares(cases, likely, threshold) for threshold in thresholds]
    figure, axes = pyplot.subplots()
    for kind in Kind:
        axes.plot(thresholds, [share[kind] for share in shares], label=kind.value)
    axes.axvline(calibration.threshold, color="grey", linestyle=":")
    axes.set(xlabel="threshold", ylabel="share answered", title="Articles that were not fitted on")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
