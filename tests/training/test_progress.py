"""What a progress bar says of the time that is left."""

from __future__ import annotations

import pytest

from bayespeft.training.history import Record
from bayespeft.training.progress import ProgressBar


@pytest.mark.parametrize("open_end", [False, True])
def test_time_that_is_left_is_a_bound_where_the_end_is_open(open_end, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    bar = ProgressBar("a method")
    bar.start(2000, open_end)
    bar.record(Record(step=20, epoch=1.0, loss=0.5, nll=0.5, kl=1.0, prior=0.0, kl_weight=1.0, seconds=1.0))
    bar.stop()
    shown = capsys.readouterr().err
    assert "20/2000" in shown
    assert "left" in shown
    assert ("left, at most" in shown) is open_end
