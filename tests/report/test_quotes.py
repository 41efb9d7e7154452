"""Rows of the data that are worth looking at."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bayespeft.errors import ConfigError
from bayespeft.predictive.categorical import Predictive
from bayespeft.report import CalibrationReport
from bayespeft.report.quotes import LONGEST, quoted, row_text
from tests.report.view.evil import (
    calibration,
)


def test_quotes_are_the_most_confident_mistakes_and_the_least_certain_rows() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.7, 0.3], [0.99, 0.01]], dtype=torch.float64)
    prediction = Predictive(
        labels=torch.tensor([1, 1, 0, 1, 0]), draws=1, forward_passes=1, seconds=0.0, log_probs=probs.log(),
        expected_entropy=torch.zeros(5),
    )  # fmt: skip
    found = quoted(prediction, None, ("no",), 2)
    assert [q.index for q in found.mistakes] == [0, 3]
    assert [q.index for q in found.uncertain] == [2, 3]
    first = found.mistakes[0]
    assert (first.text, first.label, first.predicted, first.mutual_information) == (None, "1", "no", None)
    assert (first.probability, first.label_probability) == pytest.approx((0.9, 0.1))
    assert first.entropy == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))
    assert len(quoted(prediction, None, (), 100).mistakes) == 2
    with pytest.raises(ConfigError, match="quotes=-1"):
        quoted(prediction, None, (), -1)


def test_the_text_of_a_row_is_what_is_read_of_it() -> None:
    assert row_text({"text": "a", "text_pair": "b", "label": 1}) == "a\nb"
    assert row_text({"question": "a", "choices": ["b", "c"]}) == "a\n(A) b\n(B) c"
    assert row_text({"input_ids": [1, 2]}) is None


def test_quoted_texts_are_cut_and_can_be_written(prediction: Predictive, tmp_path: Path) -> None:
    odd = "a\x00b\x1b[31m\ud800\r\nc" + "x" * 10_000
    report = calibration(prediction, quotes=quoted(prediction, [{"text": odd}] * 300, [odd] * 9, 1))
    assert report.quotes is not None
    text = report.quotes.uncertain[0].text
    assert text is not None
    assert len(text) <= LONGEST
    assert text.startswith("a\ufffdb\ufffd[31m\ufffd\nc")
    assert text.endswith("…")
    report.to_html(tmp_path / "r.html")
    assert CalibrationReport.from_json(report.to_json(tmp_path / "r.json")) == report
