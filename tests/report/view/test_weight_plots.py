"""The picture of a layer's weight law shows the covariance's own numbers, and stays inside of its figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib._pylab_helpers import Gcf
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.core import Core
from bayespeft.adapters.lora import Lora
from bayespeft.errors import GuideError, TargetError
from bayespeft.report.view import plots
from bayespeft.report.view.weight_plots import weight_law

LAYER = "encoder.layer.11.attention.self.query_projection_of_the_decoder"
TRAIN = TrainConfig(steps=10, batch_size=16, lr=0.02)


def fit(guide: str, **options: Any) -> bayespeft.Posterior:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 3))
        x = torch.randn(40, 5)
    settings: dict[str, Any] = {"targets": "all-linear", "train": TRAIN, "progress": False, **options}
    return bayespeft.fit(body, (x, (x[:, 0] > 0).long()), guide, **settings)


@pytest.fixture(scope="module")
def melora() -> bayespeft.Posterior:
    return fit("melora", adapter=Core(r=3))


def test_panels_show_the_covariance(melora: bayespeft.Posterior) -> None:
    covariance = melora.weight_covariance("0")
    figure = weight_law(melora, "0")
    spectrum, heat, core = figure.axes[:3]
    (dots,) = spectrum.lines
    assert spectrum.get_yscale() == "log"
    np.testing.assert_allclose(dots.get_ydata(), covariance.eigenvalues())
    assert f"rank 9 in 60 dimensions, trace {covariance.trace():.3g}" in [text.get_text() for text in spectrum.texts]
    np.testing.assert_allclose(heat.images[0].get_array(), covariance.std())
    cloud, diagonal = core.lines
    law = covariance.q_law
    assert law is not None
    np.testing.assert_allclose(cloud.get_xdata(), law.std.flatten())
    np.testing.assert_allclose(cloud.get_ydata(), law.published_std.flatten())
    assert (np.asarray(cloud.get_ydata()) >= cloud.get_xdata()).all(), "the printed law over-states every one of them"
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert core.get_xlim() == core.get_ylim()


@pytest.mark.parametrize("guide", ["blob", "melora_matrix_normal"])
def test_without_an_uncorrelated_core_there_are_two_panels(guide: str) -> None:
    posterior = fit(guide)
    figure = weight_law(posterior, "2")
    assert [ax.get_title() for ax in figure.axes[:2]] == [
        "Eigenvalues of Cov(vec W)",
        "Standard deviation of each weight",
    ]
    assert len(figure.axes) == 3, "two panels and the colour bar"


def test_a_weight_without_spread_says_so() -> None:
    posterior = fit("melora", train=TRAIN.replace(steps=1, lr=1e-12))
    with torch.no_grad():
        for name, value in posterior.joint_guide.points.mean().items():
            value.mul_(0 if name.startswith("B") else 1)
    figure = weight_law(posterior, "0")
    figure.draw_without_rendering()
    assert any("same weight" in text.get_text() for text in figure.axes[0].texts)


def test_the_largest_stand_for_too_many_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = fit("blob", adapter=Lora(r=3, alpha=3))
    monkeypatch.setattr("bayespeft.analysis.weight_covariance.GRAM_LIMIT", 10)
    monkeypatch.setattr("bayespeft.report.view.weight_plots.LEADING", 4)
    spectrum = weight_law(posterior, "2").axes[0]
    assert len(spectrum.lines[0].get_ydata()) == 4
    assert any("the 4 largest of 36 in 36 dimensions" in text.get_text() for text in spectrum.texts)


def test_it_is_written_and_nothing_is_drawn_outside(melora: bayespeft.Posterior, tmp_path: Path) -> None:
    class Named:
        """The same posterior, with a layer of a long name."""

        def weight_covariance(self, layer: str) -> Any:
            return melora.weight_covariance("2")

    for figure in (weight_law(Named(), LAYER), weight_law(melora, "2")):
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert box.x0 >= -0.01
        assert box.y0 >= -0.01
        assert box.x1 <= width + 0.01
        assert box.y1 <= height + 0.01
        plots.save(figure, tmp_path / "law.png")
        assert (tmp_path / "law.png").stat().st_size > 5000
    assert not Gcf.get_all_fig_managers()


def test_errors_are_those_of_the_covariance(melora: bayespeft.Posterior) -> None:
    with pytest.raises(TargetError, match="no adapted layer is called 'x'"):
        weight_law(melora, "x")
    with pytest.raises(GuideError, match="point factors only"):
        weight_law(fit("mle"), "0")
