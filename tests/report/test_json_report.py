"""A report as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bayespeft.report import CalibrationReport


def test_json_there_and_back_with_everything(full: CalibrationReport) -> None:
    assert CalibrationReport.from_json(full.to_json()) == full
    assert CalibrationReport.from_dict(full.to_dict()).to_html() == full.to_html()


def test_csv_has_every_number_and_no_text(full: CalibrationReport, tmp_path: Path) -> None:
    text = full.to_csv(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text(encoding="utf-8") == text
    rows = {row["figure"]: row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == text.count("\n") - 1
    for name, metric in (
        ("nll", full.nll),
        ("aurc", full.metric("aurc")),
        (f"ood.{full.ood[0].data}.{full.ood[0].score}.auroc", full.ood[0].auroc),
    ):
        assert [float(rows[name][key]) for key in ("value", "low", "high")] == [metric.value, metric.low, metric.high]
    assert float(rows["bins.14.count"]["value"]) == full.bins[14].count
    assert not any("script" in line for line in text.splitlines() if "ood." not in line)  # which its data names
    assert not any(name.startswith(("quotes", "setup", "name")) for name in rows)
