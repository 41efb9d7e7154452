"""What a Gaussian q over an adapter's latents says about the layer's weight: the covariance of vec(delta W).

Cov = (D S)(D S)^T: S is a square root of the latents' covariance at the layer (noise -> latents), D the derivative of the
adapter's `delta` by them, at the mean. Both act by differentiation, in float64 and some directions at a
time, so nothing of size mn x mn is made. Its eigenvalues are those of the Gram matrix (D S)^T (D S), which has a row for
each direction of noise: r^2 for a core, r n for LoRA's A, r for scaled rows. vec stacks columns.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vjp, vmap

from bayespeft.adapters.attach import Placement
from bayespeft.adapters.core import Core
from bayespeft.adapters.orthonormal_core import OrthonormalCore
from bayespeft.analysis.q_law import QLaw, q_law
from bayespeft.errors import ConfigError, FitError, GuideError, TargetError
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.utils.checks import checked_methods
from bayespeft.variational.joint_guide import JointGuide
from bayespeft.variational.latent_root import Root, identity, latent_root, random_rows, rows_of_chunk

# Matrices of this many rows are decomposed whole (134 MB); larger ones by Lanczos iterations.
GRAM_LIMIT = 4096
DENSE_LIMIT = 4096
# Eigenvalues below this part of the largest one count as zero: parameters are float32, and rounding leaves a singular matrix
# of theirs (6e-8)^2.
TOLERANCE = 1e-12
# delta counts as affine if it departs from its linear part by no more than this part of the latter's norm.
_LINEAR = 1e-9


@checked_methods
class WeightCovariance:
    """Covariance of vec(delta W), (mn, mn), of one adapted layer; everything in float64 on the CPU.

    It is of the posterior as it was when this was made.

    Attributes:
        layer: the layer's name.
        m, n: rows (outputs) and columns (inputs) of the weight.
        shape: (mn, mn).
        width: directions of noise, w: an upper bound of the rank.
        exact: delta is affine in the latents, so this is the covariance; else that of its linearisation at the mean.
        q_law: the law of Q = C A, where the adapter has a core and the elements of C are uncorrelated; else None.
    """

    def __init__(
        self, layer: str, delta: Callable[[Tensor], Tensor], mean: Tensor, root: Root, law: QLaw | None = None
    ) -> None:
        self._delta, self._mean, self._root = delta, mean, root
        self.layer, self.q_law, self.width = layer, law, root.width
        self.m, self.n = delta(mean).shape
        if not self._probe().isfinite().all():
            raise FitError(f"layer '{layer}': the factors or their spread are not finite; fit again with a smaller lr.")
        self.shape = (self.m * self.n, self.m * self.n)
        self.exact = _is_affine(delta, mean)

    def matvec(self, vector: Tensor) -> Tensor:
        """Return Cov v, (mn,), of v (mn,), the stacked columns of a matrix (m, n); errors as `matmat`."""
        # Not reshaped: a matrix (m, n) would become its rows, one after the other.
        return self.matmat(torch.as_tensor(vector).unsqueeze(-1))[:, 0]

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return Cov V, (mn, k), of V (mn, k).

        Raises:
            ConfigError: the columns have another length than mn.
        """
        vectors = torch.as_tensor(vectors, dtype=torch.float64)
        if vectors.dim() != 2 or len(vectors) != self.shape[0]:
            raise ConfigError(
                f"layer '{self.layer}': vectors of {self.shape[0]:,} = {self.m} x {self.n} numbers are expected, not of shape "
                f"{tuple(vectors.shape)}; stack the columns of a weight, `w.mT.flatten()`."
            )
        weights = vectors.mT.reshape(-1, self.n, self.m).mT
        parts = [self._forward(self._adjoint(part)) for part in torch.split(weights, self._rows)]
        return torch.cat(parts).mT.reshape(-1, self.shape[0]).mT

    @cached_property
    def _variance(self) -> Tensor:
        total = torch.zeros(self.m, self.n, dtype=torch.float64)
        for noise in self._directions():
            total += self._forward(noise).square().sum(0)
        return total

    def std(self) -> Tensor:
        """Return the marginal standard deviation of each weight, (m, n): w passes over such a matrix."""
        return self._variance.sqrt()

    def trace(self) -> float:
        """Return the sum of all variances, E |W - E W|^2 in Frobenius norm."""
        return float(self._variance.sum())

    @cached_property
    def _gram(self) -> Tensor:
        """(w, w)."""
        rows = [self._adjoint(self._forward(noise)) for noise in self._directions()]
        return torch.cat([torch.zeros(0, self.width, dtype=torch.float64), *rows])

    @property
    def solvable(self) -> bool:
        """All eigenvalues can be computed: there are at most 4096 directions of noise."""
        return self.width <= GRAM_LIMIT

    def eigenvalues(self, k: int | None = None, tolerance: float = TOLERANCE) -> Tensor:
        """Return the k largest eigenvalues, descending; all, for None. Those at most `tolerance` x the largest count as 0.

        Raises:
            ConfigError: all are asked for, of more than 4096 directions of noise; or k < 1, or tolerance < 0.
        """
        if k is None and not self.solvable:
            raise ConfigError(
                f"layer '{self.layer}' has {self.width:,} directions of noise, more than the {GRAM_LIMIT:,} whose eigenvalues "
                "are all computed: ask for the k largest, `eigenvalues(k)` or `top(k)`."
            )
        return self._spectrum(self.width if k is None else k, tolerance)[0]

    def rank(self, tolerance: float = TOLERANCE) -> int:
        """Return how many eigenvalues are larger than `tolerance` x the largest; errors as `eigenvalues`."""
        return len(self.eigenvalues(tolerance=tolerance))

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        """Return the k largest eigenvalues, descending, and their eigenvectors as weights; fewer where the rank is less.

        Returns:
            (k,) and (k, m, n), each of Frobenius norm 1.

        Raises:
            ConfigError: k < 1.
        """
        values, noise = self._spectrum(k, TOLERANCE)
        weights = [self._forward(part) for part in torch.split(noise, self._rows)] if len(noise) else []
        empty = torch.zeros(0, self.m, self.n, dtype=torch.float64)
        return values, torch.cat([empty, *weights]) / values.sqrt()[:, None, None]

    def dense(self, limit: int = DENSE_LIMIT) -> Tensor:
        """Return the whole matrix (mn, mn).

        Raises:
            ConfigError: mn is larger than `limit`.
        """
        size = self.shape[0]
        if size > limit:
            raise ConfigError(
                f"layer '{self.layer}': the dense covariance of a {self.m} x {self.n} weight takes {8 * size**2:,} bytes. Use "
                f"matvec, std or top; or dense(limit={size}) for all that."
            )
        total = torch.zeros(self.shape, dtype=torch.float64)
        for noise in self._directions():
            columns = self._forward(noise).mT.flatten(1)
            total.addmm_(columns.mT, columns)
        return total

    def as_linear_operator(self) -> Any:
        """Return it as a symmetric `scipy.sparse.linalg.LinearOperator` on float64 arrays."""
        from scipy.sparse.linalg import LinearOperator  # slow to import

        def act(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
            return self.matmat(torch.tensor(vectors).reshape(self.shape[0], -1)).numpy().reshape(vectors.shape)

        return LinearOperator(self.shape, matvec=act, rmatvec=act, matmat=act, rmatmat=act, dtype=np.float64)

    def _spectrum(self, k: int, tolerance: float) -> tuple[Tensor, Tensor]:
        """Return the k largest eigenvalues, and the unit vectors (k, w) of noise that D S takes to the eigenvectors."""
        if k < 1 or tolerance < 0:
            raise ConfigError(f"k={k}, tolerance={tolerance}: k must be 1 or more, tolerance 0 or more.")
        if self.solvable:
            values, vectors = torch.linalg.eigh(self._gram)
        elif self._probe().count_nonzero():
            values, vectors = self._lanczos(min(k, self.width - 1))
        else:
            values, vectors = torch.zeros(0), torch.zeros(self.width, 0)
        values, vectors = values.flip(0)[:k].double(), vectors.flip(1)[:, :k].double()
        # No more than mn can differ from zero; what the tolerance lets through beyond is rounding.
        kept = ((values > tolerance * values[:1]) & (values > 0))[: self.shape[0]]
        return values[: len(kept)][kept], vectors[:, : len(kept)].mT[kept]

    def _probe(self) -> Tensor:
        """A vector of noise (1, w) that has a part of every eigenvector whose eigenvalue is not zero."""
        return self._adjoint(self._forward(random_rows(1, self.width)))

    def _lanczos(self, k: int) -> tuple[Tensor, Tensor]:
        from scipy.sparse.linalg import LinearOperator, eigsh  # slow to import

        def act(noise: NDArray[np.float64]) -> NDArray[np.float64]:
            return self._adjoint(self._forward(torch.tensor(noise).reshape(1, -1))).numpy().reshape(-1)

        gram = LinearOperator((self.width, self.width), matvec=act, dtype=np.float64)
        values, vectors = eigsh(gram, k=k, v0=self._probe()[0].numpy())
        order = np.argsort(values)
        return torch.from_numpy(values[order]), torch.from_numpy(vectors[:, order])

    @property
    def _rows(self) -> int:
        return rows_of_chunk(max(self.m * self.n, self._root.numbers))

    def _directions(self) -> Iterator[Tensor]:
        """Unit vectors of noise, in chunks (k, w)."""
        for start in range(0, self.width, self._rows):
            chunk = torch.zeros(min(self._rows, self.width - start), self.width, dtype=torch.float64)
            chunk[range(len(chunk)), range(start, start + len(chunk))] = 1
            yield chunk

    def _forward(self, noise: Tensor) -> Tensor:
        """D S e: (k, w) -> (k, m, n)."""
        weights: Tensor = vmap(_forward_derivative(self._delta, self._mean))(self._root.sqrt_matvec(noise))
        return weights

    def _adjoint(self, weights: Tensor) -> Tensor:
        """S^T D^T G: (k, m, n) -> (k, w)."""
        back = vjp(self._delta, self._mean)[1]
        return self._root.sqrt_rmatvec(vmap(back)(weights)[0])


def weight_covariance(joint_guide: JointGuide, placements: Sequence[Placement], layer: str) -> WeightCovariance:
    """Return the covariance of vec(delta W) at a layer, under the Gaussian guide of `joint_guide`.

    Raises:
        TargetError: no adapted layer has that name. GuideError: nothing is random there, or the guide is no Gaussian.
    """
    placement = _placement(placements, layer)
    guide = joint_guide.latent
    places = {stack.factor: (stack.name, stack.rows[layer]) for stack in joint_guide.stacks if layer in stack.rows}
    random = {factor: place for factor, place in places.items() if place[0] in joint_guide.random}
    if not random:
        raise GuideError(
            f"layer '{layer}' has point factors only, so its weight has no spread. Fit a method with a posterior over it, such "
            "as melora or blob; for the norms of the factors, see `posterior.summary()`."
        )
    if not isinstance(guide, GaussianGuide):
        raise GuideError(
            f"layer '{layer}': {type(guide).__name__} is no Gaussian, so it has no covariance in closed form. Estimate it from "
            "draws, `posterior.using(draw)`, or fit a Gaussian guide, such as mean_field or full_covariance."
        )
    mean = joint_guide.mean()
    values = {factor: mean[name][row].detach().cpu().double() for factor, (name, row) in places.items()}
    shapes = [values[factor].shape for factor in random]
    latents = torch.cat([values[factor].flatten() for factor in random])

    def delta(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [shape.numel() for shape in shapes])
        moved = {factor: part.reshape(shape) for factor, part, shape in zip(random, parts, shapes, strict=True)}
        return placement.adapter.delta({**values, **moved}, placement.layer)

    root = latent_root(guide, list(random.values()))
    if root.width > len(latents) <= GRAM_LIMIT:
        root = root.compressed(len(latents))
    law = None
    if isinstance(placement.adapter, (Core, OrthonormalCore)) and list(random) == ["C"]:
        covariance = root.sqrt_matvec(root.sqrt_rmatvec(identity(len(latents))))
        if torch.equal(covariance, covariance.diag().diag()):
            a, _, _ = placement.adapter.to_lora(values, placement.layer)
            law = q_law(values["C"], covariance.diag().sqrt().reshape(values["C"].shape), a)
    return WeightCovariance(layer, delta, latents, root, law)


def _placement(placements: Sequence[Placement], layer: str) -> Placement:
    names = {placement.layer.name: placement for placement in placements}
    if layer not in names:
        near = difflib.get_close_matches(str(layer), names, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Adapted layers: {', '.join(names)}."
        raise TargetError(f"no adapted layer is called {layer!r}. {hint}")
    return names[layer]


def _is_affine(delta: Callable[[Tensor], Tensor], mean: Tensor) -> bool:
    """Compare delta with its linear part in a random direction: a function that is not affine bends in almost all."""
    direction = random_rows(1, len(mean))[0]
    linear = _forward_derivative(delta, mean)(direction)
    change = delta(mean + direction) - delta(mean)
    return bool((change - linear).norm() <= _LINEAR * linear.norm())


def _forward_derivative(delta: Callable[[Tensor], Tensor], mean: Tensor) -> Callable[[Tensor], Tensor]:
    """Return t -> D t by reverse differentiation alone: u -> D^T u is linear, and D t is its derivative, transposed."""
    back = vjp(delta, mean)[1]
    twice = vjp(lambda weight: back(weight)[0], torch.zeros_like(delta(mean)))[1]
    return lambda tangent: twice(tangent)[0]
