"""Warnings point at the line that called into the package."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.utils.warned import warn


def line_of(call):
    """Return the file and the text of the line that a warning of a call points at."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    (said,) = [each for each in found if issubclass(each.category, UserWarning)]
    return said.filename, Path(said.filename).read_text(encoding="utf-8").splitlines()[said.lineno - 1]


def test_a_warning_deep_inside_a_fit_points_at_the_fit(mlp, xy):
    def call():
        settings = {"class_weight": [3.0, 2.0, 2.0], "train": TrainConfig(steps=1), "progress": False}
        bayespeft.fit(mlp, xy, "mle", targets="all-linear", **settings)  # this line

    file, line = line_of(call)
    assert file == __file__
    assert line.endswith("# this line")


@pytest.mark.parametrize("wrap", [lambda f: f, torch.no_grad(), contextlib.suppress(KeyError)])
def test_what_stands_between_is_passed_over(wrap):
    def inside():
        warn("said")

    module = {"__name__": "bayespeft.somewhere", "inside": wrap(inside) if callable(wrap) else inside}
    exec(compile("def outer(): inside()", "somewhere.py", "exec"), module)
    file, line = line_of(lambda: module["outer"]())
    assert file == __file__
    assert 'module["outer"]()' in line


def test_a_command_is_the_caller_where_nobody_s_line_is():
    module = {"__name__": "bayespeft.cli.somewhere", "warn": warn}
    exec(compile("def command(): warn('said')", str(Path(__file__)), "exec"), module)
    with pytest.warns(UserWarning, match="said") as found:
        module["command"]()
    assert found[0].lineno == 1
