"""Annotations in words, and values in one short line, whatever they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from annotated_types import Gt, Lt

from bayespeft.utils.annotations import Must
from bayespeft.utils.described import described, shown


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (str | None, "a string or None"),
        (float | int | float, "a finite number or a whole number"),
        (Literal["auto", 3], "'auto' or 3"),
        (Annotated[float, Gt(0), Lt(1)], "a finite number, above 0 and below 1"),
        (Annotated[int, Lt(10**6), "seldom"], "a whole number, below 1,000,000 (seldom)"),
        (Annotated[Any, Must(bool, "something")], "something"),
        (os.PathLike[str], "a path"),
        (Callable[[int], int], "a function"),
        (Mapping[str, int], "a mapping from a string to a whole number"),
        (Sequence[str | int], "a sequence in which each is a string or a whole number"),
        (tuple[int, ...], "a tuple in which each is a whole number"),
        (torch.device, "a device"),
    ],
)
def test_hints_are_described(hint, words):
    assert described(hint) == words


class Rude:
    """Has no representation."""

    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"),
        (torch.zeros(2, 3), "<Tensor of shape (2, 3)>"),
        (np.zeros(4), "<ndarray of shape (4,)>"),
        (np.ndarray, "<class 'numpy.ndarray'>"),
        (Rude(), "<Rude instance at "),
        (list(range(10**5)), "[0, 1, 2, 3, 4, 5, ...]"),
    ],
)
def test_values_are_shown_in_one_short_line(value, text):
    assert shown(value).startswith(text)
    assert len(shown(value)) < 100
    assert "\n" not in shown(value)
