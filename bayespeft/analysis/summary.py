"""A posterior in numbers, layer by layer: how far it went from its prior, how wide it is, how large the factors are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bayespeft.adapters.attach import Placement
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.layers.factors import StackedFactor
from bayespeft.priors.empirical_bayes import EmpiricalBayes
from bayespeft.utils.checks import checked_methods
from bayespeft.variational.joint_guide import JointGuide
from bayespeft.variational.kl import Divergence
from bayespeft.variational.reported import reported_kl

UNKNOWN = "-"
# A factor that all layers share has a row of its own, because it belongs to none of them and counts once.
SHARED = "(shared)"


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One adapted layer, or what all layers share.

    Attributes:
        layer: the layer's name, or "(shared)".
        adapter: its adapter's name.
        random: numbers that q makes random here.
        kl: KL(q || prior) of these, nats, also where training took another (mean_field_reversed), and in expectation where
            the prior is drawn anew at each step (randomised); None where the guide is not fitted by a KL, where nothing is
            random, or where q or the prior does not come apart by layer.
        std_mean, std_spread: mean and standard deviation, over these numbers, of their posterior standard deviations; None
            where the guide has none (a point) or none in closed form (an ensemble, dropout).
        deviation: Frobenius norm of mean - center of the prior, over all latent factors; None without one.
        signal_to_noise: mean over the random numbers of |mean - center| / std; None without a std.
        prior_scales: factor -> standard deviation of its prior, where that was learned (empirical Bayes).
        norms: factor -> Frobenius norm, of each factor that is not random.
    """

    layer: str
    adapter: str
    random: int
    kl: float | None
    std_mean: float | None
    std_spread: float | None
    deviation: float | None
    signal_to_noise: float | None
    prior_scales: dict[str, float]
    norms: dict[str, float]


@checked_methods
@dataclass(frozen=True, repr=False)
class Summary:
    """All adapted layers, heads included, and totals; `print` shows a table.

    Attributes:
        guide: the guide's name.
        layers: one for each layer, in the order of the network; the last one for what they share, if there is such.
        kl: KL(q || prior) of all that is random, nats, or None.
        kl_error: standard error of `kl` and of the layers' in all, nats, where it is a Monte Carlo estimate; None for a
            formula.
        objective: what the data term of the objective is, where classes were weighed; else empty.
        imported: of a LoRA that peft trained, the SHA-256 of each file that it was read from, by name; else empty.
        random: numbers that q makes random.
        trained: numbers that were trained by gradients: means, points, and the spreads of variational guides. Those of
            Laplace, SWAG and IVON, which come from curvature or from moments, are not among them.
    """

    guide: str
    layers: tuple[LayerSummary, ...]
    kl: float | None
    random: int
    trained: int
    kl_error: float | None = None
    imported: dict[str, str] = field(default_factory=dict)
    objective: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return asdict(self)

    def table(self) -> Table:
        """Return a rich table: a row for each layer and one for the totals; columns that nothing has are left out."""
        rows = [
            (
                layer.layer,
                layer.adapter,
                f"{layer.random:,}",
                _number(layer.kl, ".1f"),
                UNKNOWN if layer.std_mean is None else f"{layer.std_mean:.3g} ± {layer.std_spread:.2g}",
                _number(layer.deviation, ".3g"),
                _number(layer.signal_to_noise, ".3g"),
                _named(layer.prior_scales),
                _named(layer.norms),
            )
            for layer in self.layers
        ]
        kl = _number(self.kl, ".1f") + ("" if self.kl_error is None else f" ± {self.kl_error:.1f}")
        total = ("total", "", f"{self.random:,}", kl, *[""] * 5)
        heads = (
            "layer",
            "adapter",
            "random",
            "KL (nats)",
            "sd",
            "|mean - center|",
            "signal/noise",
            "prior sd",
            "norms",
        )
        # The first three columns are of every guide.
        used = [i for i in range(len(heads)) if i < 3 or any(row[i] not in (UNKNOWN, "") for row in (*rows, total))]
        estimated = "" if self.kl_error is None else "; the KL is a Monte Carlo estimate, ± its standard error"
        read = "\n".join([f"SHA-256 of {name}: {found}" for name, found in self.imported.items()])
        if self.objective:
            read = "\n".join(filter(None, (f"Objective: {self.objective}", read)))
        table = Table(
            title=f"{self.guide}: {self.trained:,} trained numbers{estimated}", title_justify="left",
            caption=read or None, caption_justify="left",
        )  # fmt: skip
        for i in used:
            words = heads[i] in ("layer", "adapter", "prior sd", "norms")
            table.add_column(heads[i], justify="left" if words else "right", overflow="fold")
        for row in rows:
            table.add_row(*(row[i] for i in used))
        table.add_section()
        table.add_row(*(total[i] for i in used))
        return table

    def __repr__(self) -> str:
        console = Console(width=160, color_system=None)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()


@torch.no_grad()
def summarise(joint_guide: JointGuide, placements: Sequence[Placement], spec: GuideSpec) -> Summary:
    """Summarise a fitted posterior.

    Args:
        joint_guide: q and its priors.
        placements: the adapted layers.
        spec: the settings of its guide.
    """
    layers = _Layers(joint_guide, spec)
    rows = layers.summaries(placements)
    total, error = layers.total()
    return Summary(
        guide=spec.kind,
        layers=rows,
        kl=total,
        random=sum(row.random for row in rows),
        trained=joint_guide.trainable(),
        kl_error=error,
    )


class _Layers:
    """Means, spreads, priors and KLs of all stacks, from which each layer takes its rows."""

    def __init__(self, joint_guide: JointGuide, spec: GuideSpec) -> None:
        guide = joint_guide.latent
        self._stacks, self._random, self._mean = joint_guide.stacks, joint_guide.random, joint_guide.mean()
        self._centers = {stack.name: joint_guide.get_buffer(f"center_{stack.name}") for stack in self._stacks}
        self._std: dict[str, Tensor] = {}
        self._kl: dict[str, Divergence] = {}
        if isinstance(guide, GaussianGuide):
            self._std = guide.std()
        # Dropout has nothing to train: it draws what its prior draws.
        if spec.variational and any(True for _ in guide.parameters()):
            self._kl = {name: kl for name, kl in reported_kl(joint_guide).items() if name in self._random}
        # Only a guide that is fitted by the ELBO has learned a scale; others may have no distribution stack by stack.
        q = {**joint_guide.points.q(), **(guide.q() if spec.variational else {})}
        self._scales = {
            stack.name: stack.prior.learned(self._centers[stack.name], q[stack.name])
            for stack in joint_guide.sampled
            if isinstance(stack.prior, EmpiricalBayes) and stack.name in q
        }

    def total(self) -> tuple[float | None, float | None]:
        """Return the KL of all that is random, and its standard error where it is an estimate; None where there is none."""
        if not self._kl:
            return None, None
        errors = [kl.error for kl in self._kl.values() if kl.error is not None]
        rows = [float(row) for kl in self._kl.values() for row in kl.nats.reshape(-1)]
        return sum(rows), sum(error**2 for error in errors) ** 0.5 if errors else None

    def summaries(self, placements: Sequence[Placement]) -> tuple[LayerSummary, ...]:
        """Return what there is to say about each layer, and about what they share."""
        adapters = {placement.layer.name: placement.adapter.kind for placement in placements}
        layers = {
            name: [(p, p.rows[name]) for p in self._stacks if name in p.rows and not p.shared] for name in adapters
        }
        shared = [(stack, 0) for stack in self._stacks if stack.shared]
        rows = [self._summary(name, adapters[name], places) for name, places in layers.items()]
        return (*rows, *([self._summary(SHARED, adapters[shared[0][0].layers[0]], shared)] if shared else []))

    def _summary(self, name: str, adapter: str, places: Sequence[tuple[StackedFactor, int]]) -> LayerSummary:
        random = [(stack.name, row) for stack, row in places if stack.name in self._random]
        latent = [(stack.name, row) for stack, row in places if stack.name in self._random or stack.role == "latent"]
        std = _flat(self._std, random) if self._std and random else None
        return LayerSummary(
            layer=name,
            adapter=adapter,
            random=sum(self._mean[stack][row].numel() for stack, row in random),
            kl=self._layer_kl(random),
            std_mean=None if std is None else float(std.mean()),
            std_spread=None if std is None else float(std.std(correction=0)),
            deviation=float(self._deviation(latent).norm()) if latent else None,
            signal_to_noise=None if std is None else float((self._deviation(random).abs() / std).mean()),
            prior_scales={
                stack.factor: float(self._scales[stack.name][row])
                for stack, row in places
                if stack.name in self._scales
            },
            norms={
                stack.factor: float(self._mean[stack.name][row].norm())
                for stack, row in places
                if stack.name not in self._random and self._mean[stack.name].is_floating_point()
            },
        )

    def _layer_kl(self, places: Sequence[tuple[str, int]]) -> float | None:
        """KL of rows of stacks, if each comes apart by layer."""
        if not places or any(stack not in self._kl or self._kl[stack].nats.dim() == 0 for stack, _ in places):
            return None
        return float(sum(self._kl[stack].nats[row] for stack, row in places))

    def _deviation(self, places: Sequence[tuple[str, int]]) -> Tensor:
        return _flat(self._mean, places) - _flat(self._centers, places)


def _flat(values: dict[str, Tensor], places: Sequence[tuple[str, int]]) -> Tensor:
    """Numbers of some rows of stacks, in float64."""
    return torch.cat([values[name][row].double().flatten() for name, row in places])


def _number(value: float | None, spec: str) -> str:
    return UNKNOWN if value is None else format(value, spec)


def _named(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items()) or UNKNOWN
