"""Each figure of a page is a file of its own."""

from __future__ import annotations

import xml.etree.ElementTree
from pathlib import Path

import pytest

from bayespeft.errors import ConfigError
from bayespeft.report import CalibrationReport
from tests.report.view.evil import (
    EVIL,
    check_alone,
    language,
    regression,
)

DRAWN = ("accuracy", "nll", "brier", "ece")


def test_pictures_by_name_of_the_form(full: CalibrationReport, tmp_path: Path) -> None:
    full.to_png(tmp_path / "a")
    full.to_svg(tmp_path / "b")
    regression().to_png(tmp_path / "c.png")
    assert (tmp_path / "a").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "b").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_each_figure_of_a_page_is_a_file(full: CalibrationReport, tmp_path: Path) -> None:
    names = ("reliability", "confidence", "risk_coverage", f"ood.{EVIL}", *(f"draws.{name}" for name in DRAWN))
    assert full.figures == (*names, "training.nll", "training.kl")
    assert regression().figures == ("pit", "quantiles")
    for report in (full, regression()):
        for name in report.figures:
            report.to_svg(tmp_path / "figure", name)
            text = (tmp_path / "figure").read_text(encoding="utf-8")
            root = xml.etree.ElementTree.fromstring(text)
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            said = "".join("".join(root.itertext()).split())
            title, picture = report.view.page(report).pictures[name]
            for words in (title, *picture.key.values()):
                assert "".join(words.split()) in said
            # The chart itself is that of the page, and every colour is known without the page.
            assert picture.svg in text
            assert "var(" not in text
            check_alone(text.replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def test_a_figure_that_is_not_there_is_an_error(full: CalibrationReport, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no figure 'roc', but reliability, confidence, risk_coverage"):
        full.to_svg(tmp_path / "a.svg", "roc")
    with pytest.raises(ConfigError, match="no figure 'plot', but none"):
        language().to_svg(tmp_path / "a.svg", "plot")
    assert not list(tmp_path.iterdir())
