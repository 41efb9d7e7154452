"""Each kind of report has a page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bayespeft.report import RegressionReport
from bayespeft.report.base import Report
from tests.report.view.evil import (
    EVIL,
    SETUP,
    check_alone,
    language,
    regression,
)


@pytest.mark.parametrize("make", [lambda: regression(setup=SETUP), lambda: language(setup=SETUP)])
def test_other_reports_have_pages_too(make: Any) -> None:
    report: Report = make()
    reader = check_alone(report.to_html())
    assert "Configuration" in reader.headings
    assert ("svg" in reader.tags) == isinstance(report, RegressionReport)
    assert EVIL in reader.text
    check_alone(report._repr_html_())
    assert type(report).from_dict(json.loads(report.to_json())) == report
