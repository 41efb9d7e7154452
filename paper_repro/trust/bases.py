"""A base network that was changed between a fit and the use of what it left: a saved posterior, a training state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import bayespeft
from bayespeft.testing import networks
from paper_repro.trust.outcome import Tally
from paper_repro.trust.subject import ONE_FIT, probs


class Gated(nn.Module):
    """A network that computes with numbers, buffers and activations that are in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.scale = networks.mlp(), nn.LayerNorm(3), 1.5
        self.register_buffer("kept", torch.linspace(-1, 1, 3))
        self.register_buffer("shift", torch.linspace(0, 1, 3), persistent=False)
        self.register_buffer("order", torch.tensor([0, 2, 1]), persistent=False)
        self.rate = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (rows, 3)."""
        return (self.norm(self.rate(self.body(x))) * self.scale + self.shift + self.kept)[:, self.order]


def bases(folder: Path) -> list[Tally]:
    """Return what came of a posterior, and of a state, whose network is another one in one thing."""
    loaded, resumed = Tally("a changed base under a saved posterior"), Tally("a changed base, or data, under a state")
    network, data = Gated().eval(), networks.xy()
    posterior = bayespeft.fit(network, data, "melora", checkpoint=folder / "state", **ONE_FIT)
    posterior.save(folder / "posterior")
    expected = probs(posterior, data)
    for what, change in _changes():
        other = copy.deepcopy(network)
        with torch.no_grad():
            change(other)
        loaded.attempt(what, lambda at=other: probs(bayespeft.load(folder / "posterior", at), data), expected)
        resumed.attempt(what, lambda at=other: _resumed(folder, at, data), expected)
    for what, rows in _data(*data):
        resumed.attempt(what, lambda at=rows: _resumed(folder, network, at), expected)
    return [loaded, resumed]


def _resumed(folder: Path, network: nn.Module, data: Any) -> torch.Tensor:
    return probs(bayespeft.fit(network, data, "melora", checkpoint=folder / "state", **ONE_FIT), networks.xy())


def _changes() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    yield "nothing", lambda m: None
    yield "another attribute", lambda m: setattr(m, "note", "x")
    for name, value in networks.mlp().state_dict().items():
        for at in {0, value.numel() - 1}:
            yield f"{name}[{at}]", lambda m, name=name, at=at: m.body.get_parameter(name).view(-1)[at].add_(1e-6)
    yield "a layer norm's weight", lambda m: m.norm.weight[2].mul_(1 + 1e-6)
    yield "a layer norm's epsilon", lambda m: setattr(m.norm, "eps", 1e-2)
    yield "a scale", lambda m: setattr(m, "scale", 1.25)
    yield "a buffer", lambda m: m.kept[1].add_(1e-6)
    yield "a buffer that is not saved", lambda m: m.shift[1].add_(1e-3)
    yield "whole numbers that are not saved", lambda m: m.order.copy_(torch.tensor([0, 1, 2]))
    for kind in (nn.ReLU(), nn.Identity(), nn.ELU(0.5), nn.Hardtanh(), nn.Softmax(-1)):
        yield f"{kind} as an activation", lambda m, kind=kind: m.body.__setitem__(1, kind)
    yield "layers exchanged", lambda m: m.body.__setitem__(2, nn.Linear(12, 12))
    yield "a tied weight", lambda m: m.body[2].register_parameter("bias", m.body[0].bias)
    yield "no bias", lambda m: m.body[4].register_parameter("bias", None)
    yield "half precision", lambda m: m.half()
    yield "brain floats", lambda m: m.bfloat16()


def _data(x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[str, Any]]:
    yield "the same data", (x.clone(), y.clone())
    for row in (0, len(x) - 1):
        moved, other = x.clone(), y.clone()
        moved[row, -1] += 1e-6
        other[row] = (other[row] + 1) % 3
        yield f"a number of row {row}", (moved, y)
        yield f"the label of row {row}", (x, other)
    yield "another order", (x.flip(0), y.flip(0))
    yield "a row fewer", (x[1:], y[1:])
    yield "a row twice", (torch.cat([x, x[:1]]), torch.cat([y, y[:1]]))
