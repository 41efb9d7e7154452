"""Arguments are what their annotations say: numbers of any library pass as Python's, everything else is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError
from bayespeft.utils.annotations import ELSEWHERE, Count, Draws, Seed, Share, Tokenizer
from bayespeft.utils.checks import check, checked, checked_methods


@checked
def everything(
    whole: int = 0,
    number: float = 0.0,
    flag: bool = False,
    seed: Seed = 0,
    draws: Draws | Literal["auto"] = 1,
    path: str | os.PathLike[str] | None = None,
    names: str | Sequence[str] = "",
    tokens: Sequence[int] | None = None,
    sizes: Mapping[str, int] | None = None,
    pair: tuple[int, int] | None = None,
    network: nn.Module | None = None,
    tokenizer: Tokenizer = None,
    share: Share = 0.5,
    function: Callable[[int], int] | None = None,
    own: Annotated[int, ELSEWHERE] = 0,
    anything: Any = None,
) -> dict[str, Any]:
    return dict(locals())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("whole", np.int64(3), 3), ("whole", torch.tensor(3), 3), ("whole", np.array(3), 3), ("whole", 10**30, 10**30),
        ("number", np.float32(0.5), 0.5), ("number", 2, 2.0), ("number", torch.tensor(0.5), 0.5),
        ("flag", np.bool_(True), True),
        ("draws", "auto", "auto"), ("draws", np.str_("auto"), "auto"), ("draws", np.int32(7), 7),
        ("path", None, None), ("path", "a", "a"),
        ("names", ["a", "b"], ["a", "b"]), ("names", ("a",), ("a",)),
        ("tokens", np.array([1, 2]), [1, 2]), ("tokens", torch.tensor([4]), [4]), ("tokens", range(2), range(2)),
        ("sizes", {"a": np.int64(1)}, {"a": 1}),
        ("pair", (np.int64(1), 2), (1, 2)),
        ("function", abs, abs), ("own", "x", "x"), ("anything", object, object),
    ],
)  # fmt: skip
def test_what_fits_passes_as_pythons_own(name, value, expected):
    found = everything(**{name: value})[name]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "wrong", "must"),
    [
        ("whole", [None, "3", 3.0, True, np.float64(3), torch.zeros(3), int, b"1", torch.tensor(True)], "a whole number"),
        ("number", [None, "x", float("nan"), float("inf"), True, 1j, 10**400, [], torch.zeros(1)], "a finite number"),
        ("flag", [0, 1, None, "yes", [], torch.zeros(2)], "True or False"),
        ("seed", [-1, 2**32, 1.5, "0"], r"a whole number, at least 0 and at most 4,294,967,295"),
        ("draws", [-1, 10**30, "x", None], r"at most 1,000,000 \(0 is the posterior mean\) or 'auto'"),
        ("path", [3, b"x", [], object()], "a string or a path or None"),
        ("names", [None, 3, ["a", 3], {"a": 1}, b"x"], "a string or a sequence in which each is a string"),
        ("tokens", ["12", [1.5], {1}, np.zeros(2), torch.zeros(2, dtype=torch.long)[None]], "a sequence in"),
        ("sizes", [[("a", 1)], {"a": "b"}, {1: 1}], "a mapping from a string to a whole number"),
        ("pair", [(1,), (1, 2, 3), [1, 2], 3], "a tuple in which each is a whole number"),
        ("network", ["bert-base-uncased", nn.Linear, None.__class__], "a network: an nn.Module, as"),
        ("tokenizer", ["x", len, 3, object()], "a tokenizer, as AutoTokenizer"),
        ("share", [0, 1, -0.5, "0.1"], "a finite number, above 0 and below 1"),
        ("function", [3, "abs"], "a function"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_what_must_be(name, wrong, must):
    for value in wrong:
        with pytest.raises(ConfigError, match=f"everything: {name}=.* must be .*{must}"):
            everything(**{name: value})


def test_a_text_that_no_file_can_hold_is_told_as_that():
    for value in ("\ud800", "a\0b", Path("a\0b")):
        with pytest.raises(ConfigError, match=r"path=.* holds a character that can't be written"):
            everything(path=value)


def test_a_name_that_no_file_can_have_is_told_as_that():
    for value in ("x" * 256, Path("here") / ("x" * 300), "é" * 128):
        with pytest.raises(ConfigError, match=r"path=.* has a part of more than 255 bytes"):
            everything(path=value)
    for value in ("/".join(["x" * 255] * 3), "é" * 127, '{"json": "' + "x" * 300 + '"}'):
        assert everything(path=value)["path"] == value


def test_pythons_own_words_for_names_that_there_are_not():
    with pytest.raises(TypeError, match=r"everything\(\) got an unexpected keyword argument 'wohle'"):
        everything(wohle=1)


def test_messages_stay_short_whatever_the_value():
    class Rude:
        def __repr__(self):
            raise RuntimeError

    for value in ("x" * 10**6, list(range(10**5)), Rude(), torch.zeros(1000, 1000)):
        with pytest.raises(ConfigError) as raised:
            everything(whole=value)
        assert len(str(raised.value)) < 200


@checked_methods
class Thing:
    def method(self, k: int) -> int:
        return k

    @classmethod
    def made(cls, k: Count) -> tuple[type, int]:
        return cls, k

    def _private(self, k: int) -> Any:
        return k


class Heir(Thing):
    """Classes that inherit have checked methods, too."""


def test_methods_and_class_methods_are_checked():
    assert Heir().method(np.int64(2)) == 2
    assert Heir.made(3) == (Heir, 3)
    assert Thing()._private("x") == "x"
    for call in (Heir().method, Thing.made):
        with pytest.raises(ConfigError, match="k='x' must be a whole number"):
            call("x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2, device="meta"), "on the device 'meta', and so holds no numbers"),
        (torch.eye(2).to_sparse(), "sparse .*: pass a plain one"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "with masked values, and a mask is not heeded"),
    ],
)
def test_arrays_without_all_of_their_numbers_are_refused_alone_and_in_a_pair(value, message):
    for given in (value, (torch.zeros(2), value)):
        with pytest.raises(ConfigError, match=message):
            check("fit: data", given, Any)
    check("fit: data", (np.ma.masked_array([1.0, 2.0], [False, False]), [value]), Any)


def test_underflow_is_no_error_here_whatever_numpy_does_about_it(mlp, xy):
    """numpy's own default ignores it; `np.seterr(all="raise")` is usual where somebody looks for other faults."""
    train = TrainConfig(steps=2, batch_size=20)
    with np.errstate(all="raise"):
        posterior = bayespeft.fit(mlp, xy, targets="all-linear", train=train, progress=False)
        assert posterior.report(xy, draws=2, resamples=5, draws_error=True).to_html()
        sharp = bayespeft.evaluate(np.array([[1000.0, 0, 0], [0, -1000.0, 5], [0, 3, 1]]), [1, 1, 2], logits=True)
        assert sharp.report(resamples=5).to_html()
        assert np.geterr()["under"] == "raise"
