"""Training states with the right key and the right digest that hold something else than a run left."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bayespeft.training.resume import MARK
from bayespeft.utils.files import digest
from paper_repro.trust.outcome import Tally
from paper_repro.trust.subject import Subject

NAME = "run-0.pt"


def states(subject: Subject) -> list[Tally]:
    """Return what came of states that were written over."""
    tally = Tally("a training state of the right key with other content")
    for what, content in _changed((subject.state / NAME).read_bytes()):
        folder = subject.copy(subject.state)
        (folder / NAME).write_bytes(content)
        tally.attempt(what, lambda at=folder: _whole(subject, at), None)
    return [tally]


def _whole(subject: Subject, folder: Path) -> torch.Tensor:
    return subject.resumed(folder)


def sealed(content: bytes) -> bytes:
    """Return a state's file of this content, with a digest that fits."""
    return MARK + digest(content).encode() + b"\n" + content


def _changed(good: bytes) -> Iterator[tuple[str, bytes]]:
    state = torch.load(io.BytesIO(good[len(MARK) :].split(b"\n", 1)[1]), weights_only=True)
    state = {**state, "ended": False, "done": state["done"] - 1}

    def written(value: Any) -> bytes:
        content = io.BytesIO()
        torch.save(value, content)
        return sealed(content.getvalue())

    for text in (b"", b"[]", b"no state", b"\x80\x04N.", b"PK\3\4"):
        yield f"{text!r}", sealed(text)
    for value in ([], None, 3, {}, {"key": state["key"]}, {"key": 3, "history": {"seconds": 1}}):
        yield f"{value!r}", written(value)
    yield "another class", written({**state, "unknown": Path("x")})
    for name in state:
        if name not in ("key", "random_cuda"):
            yield f"without {name}", written({key: value for key, value in state.items() if key != name})
            for value in (None, 3, "x", [], torch.zeros(2)):
                if type(value) is not type(state[name]):
                    yield f"{name} = {value!r}", written({**state, name: value})
    for value in (-1, 10**9, 1.5, True, "3", math.nan):
        yield f"{value} steps are done", written({**state, "done": value})
    for name, value in state["joint_guide"].items():
        for what, other in (
            ("nan", torch.full_like(value, math.nan)),
            ("flat", value.flatten()[:-1]),
            ("float64", value.double()),
            ("whole numbers", value.int()),
        ):
            yield f"{what} in {name}", written({**state, "joint_guide": {**state["joint_guide"], name: other}})
    first = next(iter(state["optimiser"]["state"]))
    for name, value in state["optimiser"]["state"][first].items():
        for what, other in (("nan", torch.full_like(value, math.nan)), ("longer", torch.zeros(7)), ("a text", "x")):
            changed = copy.deepcopy(state["optimiser"])
            changed["state"][first][name] = other
            yield f"{what} in {name}", written({**state, "optimiser": changed})
