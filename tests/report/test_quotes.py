"""Rows of the data that are worth looking at."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bayespeft.errors import ConfigError
from bayespeft.predictive.categorical import Predictive
from bayespeft.report import CalibrationReport
from bayespeft.report.quotes import LONGEST, quotes
from tests.report.view.evil import (
    calibration,
)


def test_quotes_are_the_most_confident_mistakes_and_the_least_certain_rows() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.7, 0.3], [0.99, 0.01]], dtype=torch.float64)
    prediction = Predictive(
        labels=torch.tensor([1, 1, 0, 1, 0]), draws=1, forward_passes=1, seconds=0.0, log_probs=probs.log(),
        expected_entropy=torch.zeros(5),
    )  # fmt: skip
    found = quotes(prediction, 2, lambda row: None, lambda row, number: f"{row}:{number}")
    assert [q.index for q in found.mistakes] == [0, 3]
    assert [q.index for q in found.uncertain] == [2, 3]
    first = found.mistakes[0]
    assert (first.text, first.label, first.predicted, first.mutual_information) == (None, "0:1", "0:0", None)
    assert (first.probability, first.label_probability) == pytest.approx((0.9, 0.1))
    assert first.entropy == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))
    assert len(quotes(prediction, 100, lambda row: None, lambda row, number: "").mistakes) == 2
    with pytest.raises(ConfigError, match="quotes=-1"):
        quotes(prediction, -1, lambda row: None, lambda row, number: "")


def test_quoted_texts_are_cut_and_can_be_written(prediction: Predictive, tmp_path: Path) -> None:
    odd = "a\x00b\x1b[31m\ud800\r\nc" + "x" * 10_000
    report = calibration(prediction, quotes=quotes(prediction, 1, lambda row: odd, lambda row, number: odd))
    assert report.quotes is not None
    text = report.quotes.uncertain[0].text
    assert text is not None
    assert len(text) <= LONGEST
    assert text.startswith("a\ufffdb\ufffd[31m\ufffd\nc")
    assert text.endswith("…")
    report.to_html(tmp_path / "r.html")
    assert CalibrationReport.from_json(report.to_json(tmp_path / "r.json")) == report
