"""A loss curve is a picture that opens without a display."""

from pathlib import Path

import pytest

from services.cli.loss_curve import draw

METRICS = [{"step": 1, "train_loss": 2.0}, {"step": 2, "train_loss": 1.0, "valid_loss": 1.5}, {"step": 3}]


def test_curve_is_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert draw(METRICS, tmp_path / "loss.png", title="ft:tiny:default::1", unit="nats per token")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


def test_axes_have_names_and_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_options: [drawn.append(figure), path.touch()])
    draw(METRICS, tmp_path / "loss.png", title="ft:tiny:default::1", unit="nats per token")
    (axes,) = drawn[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimizer step", "loss (nats per token)")
    assert [(line.get_label(), list(line.get_xdata())) for line in axes.lines] == [
        ("training", [1, 2]),
        ("validation", [2]),
    ]


def test_nothing_measured_is_no_picture(tmp_path: Path) -> None:
    assert not draw([{"step": 1}], tmp_path / "loss.png", title="", unit=None)
    assert list(tmp_path.iterdir()) == []
