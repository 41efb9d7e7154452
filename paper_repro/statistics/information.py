"""Mutual information from few draws against its value, for each way to draw: by simulation.

Logits are a function of standard normals with an odd and an even part, m + A e + B (e^2 - 1) / 2; the value is that of
a million draws, of an ensemble that of all its members.

python -m paper_repro.statistics.information
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bayespeft.prediction.sampling import UNITS, Noise, Replicates, Sampling
from bayespeft.predictive.average import Cost, DrawnGaussianAverage, Groups, Rows
from bayespeft.predictive.categorical import CategoricalAverage, Predictive
from paper_repro.results import append

EXPERIMENT = "mutual_information"
ROWS, CLASSES, SIZE, REPEATS, MEMBERS = 40, 3, 12, 1500, 10
MANY = 2**20
DRAWS = {"plain": (4, 10, 40), "antithetic": (4, 10, 40), "sobol": (4, 10, 40), "ensemble": (4, 8, 10)}


class Law:
    """Logits of some rows as a function of noise."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.mean = 2 * torch.randn(ROWS, CLASSES, generator=generator).double()
        self.odd = torch.randn(ROWS, CLASSES, SIZE, generator=generator).double() / SIZE**0.5
        self.even = torch.randn(ROWS, CLASSES, SIZE, generator=generator).double() / SIZE**0.5

    def __call__(self, noise: Tensor) -> Tensor:
        """(draws, SIZE) -> (draws, rows, classes)."""
        e = noise.double()
        moved = torch.einsum("nkj,sj->snk", self.odd, e) + torch.einsum("nkj,sj->snk", self.even, (e.square() - 1) / 2)
        return self.mean + moved

    def truth(self) -> float:
        """Mean mutual information, from many draws."""
        average = CategoricalAverage(ROWS)
        noise = Noise("plain", SIZE, 1)
        for _ in range(MANY // 2**14):
            average.begin(2**14)
            average.add(self(noise.take(2**14)), Rows(torch.arange(ROWS)), 0)
        return float(average.result(Cost(MANY, MANY, 0.0), 1).mutual_information.mean())


def predicted(logits: Tensor, unit: int | None, members: int | None = None) -> Predictive:
    average = CategoricalAverage(ROWS)
    average.begin(len(logits), Groups(unit or 1, members))
    average.add(logits, Rows(torch.arange(ROWS)), 0)
    return average.result(Cost(len(logits), len(logits), 0.0), unit)


def measure(law: Law, kind: str, draws: int, truth: float) -> None:
    plain, own, values = [], [], []
    low = False
    for seed in range(REPEATS):
        if kind == "ensemble":
            all_of_them = law(Noise("plain", SIZE, seed).take(MEMBERS))
            found, whole = (predicted(all_of_them[:k], None, MEMBERS) for k in (draws, MEMBERS))
            values.append(float(whole.mutual_information.mean()))
        else:
            sampling: Sampling = kind
            found = predicted(
                law(Noise(sampling, SIZE, seed).take(draws)), None if kind == "sobol" else UNITS[sampling]
            )
            values.append(truth)
        plain.append(float((found.entropy - found.expected_entropy).mean()))
        own.append(float(found.mutual_information.mean()))
        low = found.information_is_low
    off, raw = np.array(own) - values, np.array(plain) - values
    append(
        EXPERIMENT, kind=kind, draws=draws, rows=ROWS, repeats=REPEATS, value=round(float(np.mean(values)), 5),
        plain=round(float(raw.mean()), 5), stated=round(float(off.mean()), 5), is_low=low,
        error=round(float(off.std() / REPEATS**0.5), 5), spread=round(float(off.std()), 5),
    )  # fmt: skip


def linearised() -> None:
    """A Gaussian over the logits themselves, from as many draws of them as a prediction takes."""
    law = Law()
    covariance = torch.einsum("nkj,nlj->nkl", law.odd, law.odd)
    draws = 256

    def found(seed: int, count: int) -> Predictive:
        average = DrawnGaussianAverage(CategoricalAverage(ROWS), Replicates(seed, count))
        average.add(law.mean, covariance, Rows(torch.arange(ROWS)))
        result = average.result(0, 0.0, None)
        assert isinstance(result, Predictive)
        return result

    truth = float(found(10**6, 2**17).mutual_information.mean())
    off = np.array([float(found(seed, draws).mutual_information.mean()) - truth for seed in range(200)])
    append(
        EXPERIMENT, kind="linearised", draws=draws, rows=ROWS, repeats=len(off), value=round(truth, 5), is_low=False,
        stated=round(float(off.mean()), 6), error=round(float(off.std() / len(off) ** 0.5), 6),
        spread=round(float(off.std()), 6),
    )  # fmt: skip


def main() -> None:
    law = Law()
    truth = law.truth()
    for kind, numbers in DRAWS.items():
        for draws in numbers:
            measure(law, kind, draws, truth)
    linearised()


if __name__ == "__main__":
    main()
