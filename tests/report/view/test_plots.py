from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bayespeft.errors import ConfigError, DataError
from bayespeft.report import CalibrationReport
from bayespeft.report.view import plots

ROWS = [
    {"method": method, "seed": seed, "accuracy": 0.8 + 0.01 * seed, "nll": 0.5 + 0.1 * i, "ece": 0.02 * (seed + 1)}
    for i, method in enumerate(["LoRA", "a method with a name that is rather too long for the axis"])
    for seed in range(3)
]


@pytest.fixture(scope="module")
def reports(simulate: Any) -> dict[str, CalibrationReport]:
    return {
        "over-confident": CalibrationReport.from_log_probs(*simulate(3000, 5, temperature=0.4), resamples=20),
        "under-confident": CalibrationReport.from_log_probs(*simulate(200, 5, temperature=3.0), resamples=20),
        "one example, with a title that does not fit": CalibrationReport.from_log_probs(np.log([[0.4, 0.6]]), [1]),
        "one class": CalibrationReport.from_log_probs(np.zeros((3, 1)), [0, 0, 0]),
        "a fifth, in the second row": CalibrationReport.from_log_probs(*simulate(20, 2), resamples=20),
    }


def gaps(axes: Any) -> list[Any]:
    return [bar for bar in axes.patches if bar.get_hatch()]


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_plots_are_written(suffix: str, start: bytes, reports: Any, tmp_path: Path) -> None:
    report = reports["over-confident"]
    path = tmp_path / "new" / f"plot{suffix}"
    assert isinstance(report.plot(path), Figure)
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size > 5000
    assert list(path.parent.iterdir()) == [path]
    plots.save(plots.comparison(ROWS), path)
    assert path.read_bytes().startswith(start)


def test_unknown_suffix_is_an_error_and_writes_nothing(reports: Any, tmp_path: Path) -> None:
    for name in ("plot.jpeg", "plot"):
        with pytest.raises(ConfigError, match=r"plot.*end the name with \.png, \.svg, \.pdf"):
            reports["one class"].plot(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_reliability_has_one_panel_per_report_on_the_same_axes(reports: Any) -> None:
    figure = plots.reliability(reports)
    figure.draw_without_rendering()
    above, below = figure.axes[::2], figure.axes[1::2]
    assert len(above) == len(below) == len(reports)
    for axes in (above, below):
        assert len({(ax.get_xlim(), ax.get_ylim()) for ax in axes}) == 1
    for (title, report), top, bottom in zip(reports.items(), above, below, strict=True):
        filled = [b for b in report.bins if b.count]
        assert len(gaps(top)) == len(filled)
        assert len(top.patches) == 2 * len(filled)
        assert [bar.get_height() for bar in bottom.patches] == pytest.approx([100 * b.count / report.n for b in filled])
        texts = [text.get_text() for text in top.texts]
        assert title in [text.replace("\n", " ") for text in texts]
        assert any(f"{100 * report.ece.value:.1f} %" in text and f"{report.nll}" in text for text in texts)
        assert top.get_title(loc="left") == str(report.verdict)


def test_nothing_is_drawn_outside_of_the_figure(reports: Any) -> None:
    for figure in (
        plots.reliability(reports),
        plots.reliability({"x" * 25: reports["one class"]}),
        plots.comparison(ROWS),
    ):
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert box.x0 >= -0.01
        assert box.y0 >= -0.01
        assert box.x1 <= width + 0.01
        assert box.y1 <= height + 0.01


def test_gaps_reach_from_accuracy_to_confidence_and_show_their_sign(reports: Any) -> None:
    for report in reports.values():
        figure = Figure()
        axes = figure.subplots()
        assert report.plot(ax=axes) is figure
        for bar, b in zip(gaps(axes), [b for b in report.bins if b.count], strict=True):
            assert bar.get_y() == pytest.approx(b.accuracy)
            assert bar.get_y() + bar.get_height() == pytest.approx(b.confidence)
            colour = plots.VERMILION if b.confidence > b.accuracy else plots.BLUE
            assert to_hex(bar.get_facecolor()).lower() == colour.lower()


def test_plot_into_axes_of_a_subfigure_returns_and_saves_the_whole_figure(reports: Any, tmp_path: Path) -> None:
    figure = Figure(layout="constrained")
    axes = figure.subfigures(1, 2)[1].subplots()
    assert reports["one class"].plot(tmp_path / "plot.png", ax=axes) is figure
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_figures_are_not_registered_with_pyplot(reports: Any) -> None:
    plots.reliability(reports)
    plots.comparison(ROWS)
    assert not Gcf.get_all_fig_managers()


def test_no_report_is_an_error() -> None:
    with pytest.raises(DataError, match="no report to draw: pass at least one"):
        plots.reliability({})


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (1049, "1k"), (8540, "8.5k"), (23_400, "23k"), (99_900, "100k"),
     (512_345, "512k"), (999_999, "1M"), (3_200_000, "3.2M")],
)  # fmt: skip
def test_counts_are_short(count: int, text: str) -> None:
    assert plots.short_count(count) == text


def test_comparison_draws_each_seed_and_the_mean() -> None:
    figure = plots.comparison(ROWS)
    assert [ax.get_title() for ax in figure.axes] == ["Accuracy (%)", "NLL (nats)", "ECE (%)"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [ROWS[0]["method"], ROWS[3]["method"]]
    for axes, metric, scale in zip(figure.axes, ("accuracy", "nll", "ece"), (100, 1, 100), strict=True):
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        means = [line for line in axes.lines if line.get_marker() == "D"]
        for i in range(2):
            values = [scale * row[metric] for row in ROWS[3 * i : 3 * i + 3]]  # type: ignore[operator]
            assert list(dots[i].get_xdata()) == pytest.approx(values)
            assert list(means[i].get_xdata()) == pytest.approx([np.mean(values)])
            assert [round(float(y)) for y in dots[i].get_ydata()] == [i] * 3


def test_comparison_takes_any_metric_and_numpy_numbers() -> None:
    rows = [{"method": "a", "seed": 0, "auroc": np.float32(0.75)}]
    (axes,) = plots.comparison(rows, metrics=["auroc"]).axes
    assert axes.get_title() == "auroc"
    assert [text.get_text() for text in axes.texts] == ["0.750"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "nothing to compare: pass at least one row"),
        ([{"method": "a", "accuracy": 1.0, "ece": 0.0}], "row 0 has no 'seed', 'nll'; its keys: 'method', 'accuracy'"),
        ([*ROWS, {**ROWS[0], "nll": float("nan")}], r"row 6 \(LoRA, seed 0\) has nll = nan: .* Leave out runs"),
        ([{**ROWS[0], "ece": None}], r"row 0 \(LoRA, seed 0\) has ece = None"),
    ],
)
def test_comparison_says_what_is_wrong_with_a_row(rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plots.comparison(rows)
