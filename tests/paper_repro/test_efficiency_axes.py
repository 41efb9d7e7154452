"""Ratios along each axis, and the picture of them."""

from __future__ import annotations

import json

from paper_repro import results
from paper_repro.efficiency import axes


def test_every_axis_passes_through_the_point_that_the_others_start_at():
    assert axes.AXES.keys() == axes.BASE.keys()
    assert all(axes.BASE[axis] in points for axis, points in axes.AXES.items())


def test_a_point_is_measured():
    found = axes.ratios({"batch": 2, "tokens": 8, "layers": 1, "rank": 2, "draws": 2, "size": 32}, 1)
    assert set(found) == {"step", "draws"}
    assert all(value > 0 for value in found.values())


def test_the_picture_is_of_the_newest_records(tmp_path, monkeypatch):
    file = tmp_path / "results.jsonl"
    record = {"experiment": "axes", "date": "2026-01-01", "axis": "batch", "at": 4, "step": 2.0, "draws": 2.0}
    records = [record, {**record, "step": 1.0, "draws": 0.5}]
    records += [{**record, "axis": axis, "at": points[0]} for axis, points in axes.AXES.items()]
    file.write_text("\n".join(map(json.dumps, records)))
    monkeypatch.setattr(results, "FILE", file)
    assert axes.newest()["batch"][4]["step"] == 1.0
    axes.plot(tmp_path / "pictures" / "axes.png")
    assert (tmp_path / "pictures" / "axes.png").stat().st_size > 10_000
