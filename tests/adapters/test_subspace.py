"""Random subspaces: which triplets, function preserved at splits and merges, and what ROSA's theorem says exactly."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers.pytorch_utils import Conv1D

from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.adapters.subspace_core import SubspaceCore
from bayespeft.errors import AttachError, ConfigError
from bayespeft.layers.layer import Layer, as_layer
from bayespeft.layers.merged import Merged, check_untied
from bayespeft.layers.weights import Shared


def a_layer(m: int, n: int, kind: str = "linear", seed: int = 0) -> Layer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Linear(n, m) if kind == "linear" else Conv1D(m, n)
        nn.init.normal_(module.weight)
    layer = as_layer("layer", module)
    assert layer is not None
    return layer


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(adapter: RandomSubspace, layer: Layer, seed: int = 0) -> dict[str, torch.Tensor]:
    return {name: factor.init for name, factor in adapter.factors(layer, generator(seed)).items()}


def trained(start: dict[str, torch.Tensor], seed: int = 1) -> dict[str, torch.Tensor]:
    draw = generator(seed)
    return {k: v if k.endswith("0") else v + torch.randn(v.shape, generator=draw) for k, v in start.items()}


ADAPTERS = st.builds(
    lambda cls, start, orthogonalise, chosen: cls(
        r=2, start=start, orthogonalise=orthogonalise, triplets=chosen[0], factorisation=chosen[1]
    ),
    st.sampled_from([RandomSubspace, SubspaceCore]),
    st.sampled_from(["svd", "zero"]),
    st.booleans(),
    st.sampled_from(
        [(triplets, "exact") for triplets in ("uniform", "top", "bottom", "window")]
        + [(triplets, "randomised") for triplets in ("uniform", "top", "window")]
    ),
)


@given(ADAPTERS, st.integers(2, 9), st.integers(2, 9), st.sampled_from(["linear", "conv1d"]), st.integers(0, 99))
def test_splits_and_merges_preserve_the_function(adapter, m, n, kind, seed):
    layer = a_layer(m, n, kind, seed)
    x = torch.randn(5, n, generator=generator(seed))

    def run(found: dict[str, torch.Tensor]) -> torch.Tensor:
        return adapter.apply({k: Shared(v) for k, v in found.items()}, x, layer.module(x), layer)

    start = values(adapter, layer, seed)
    torch.testing.assert_close(run(start), layer.module(x), atol=1e-5, rtol=1e-4)
    found = trained(start)
    before, weight = run(found), layer.weight()
    merged = Merged(layer.module)
    merged.merge(layer, *adapter.low_rank_change(found, layer))
    torch.testing.assert_close(layer.weight() - weight, adapter.delta(found, layer), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(layer.module(x), before, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(run(values(adapter, layer, seed + 1)), before, atol=1e-4, rtol=1e-3)


def test_the_split_is_made_of_the_weights_own_triplets():
    layer = a_layer(7, 5)
    u, s, v = torch.linalg.svd(layer.weight(), full_matrices=False)
    found = values(RandomSubspace(r=2, triplets="top"), layer)
    torch.testing.assert_close(found["B"] @ found["A"], (u[:, :2] * s[:2]) @ v[:2], atol=1e-5, rtol=1e-4)
    # Balanced: both factors carry the root of the singular values.
    torch.testing.assert_close(found["B"].norm(dim=0), s[:2].sqrt())
    torch.testing.assert_close(found["A"].norm(dim=1), s[:2].sqrt())
    bottom = values(RandomSubspace(r=2, triplets="bottom"), layer)
    torch.testing.assert_close(bottom["B"] @ bottom["A"], (u[:, 3:] * s[3:]) @ v[3:], atol=1e-5, rtol=1e-4)


def test_uniform_triplets_are_each_equally_likely_and_the_window_never_holds_the_last():
    adapter, window = RandomSubspace(r=2), RandomSubspace(r=2, triplets="window")
    n, draws = 6, 3000
    counts, reached = torch.zeros(n), set()
    draw = generator()
    for _ in range(draws):
        counts[adapter._choose(n, draw)] += 1
        chosen = window._choose(n, draw).tolist()
        assert chosen[1] == chosen[0] + 1
        reached |= set(chosen)
    p = 2 / n
    assert (counts / draws - p).abs().max() < 4 * math.sqrt(p * (1 - p) / draws)
    assert reached == set(range(n - 1))


def test_randomised_factorisation_finds_leading_triplets_only():
    layer = a_layer(40, 30)
    s = torch.linalg.svdvals(layer.weight())
    found = values(RandomSubspace(r=3, factorisation="randomised"), layer)
    for norm in found["B"].norm(dim=0) ** 2:
        assert (s[:12] - norm).abs().min() < 1e-3
    with pytest.raises(ConfigError, match="leading triplets only"):
        RandomSubspace(factorisation="randomised", triplets="bottom")


def test_what_can_not_be_merged_into_is_refused():
    half = nn.Linear(4, 3).to(torch.bfloat16)
    with pytest.raises(AttachError, match=r"bfloat16.*round the change away"):
        RandomSubspace(r=2).factors(as_layer("h", half), generator())
    with pytest.raises(AttachError, match="fewer than r=4"):
        RandomSubspace(r=4).factors(a_layer(3, 5), generator())
    tied = nn.Module()
    tied.embedding, tied.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    tied.head.weight = tied.embedding.weight
    with pytest.raises(AttachError, match=r"'head' shares its weight with 'embedding.weight'"):
        check_untied(tied, [as_layer("head", tied.head)])


@pytest.mark.parametrize("adapter", [RandomSubspace(r=8), SubspaceCore(r=8)])
def test_half_precision_does_not_drown_a_small_change(adapter):
    layer = a_layer(64, 48)
    draw = generator(2)
    found = {
        k: v if k.endswith("0") else v + 1e-3 * torch.randn(v.shape, generator=draw)
        for k, v in values(adapter, layer).items()
    }
    x = torch.randn(10, 48, generator=draw)
    exact = x @ adapter.delta({k: v.double() for k, v in found.items()}, layer).float().mT
    half = adapter.apply({k: Shared(v) for k, v in found.items()}, x.bfloat16(), torch.zeros(10, 64).bfloat16(), layer)
    # Bfloat16 has eight bits: what is left is their rounding, not that of the two products that cancel.
    assert (half - exact).norm() < 0.03 * exact.norm()


def test_an_orthogonalised_change_is_as_short_as_its_rank():
    layer = a_layer(9, 8)
    adapter = RandomSubspace(r=3, orthogonalise=True)
    found = values(adapter, layer)
    found["A"] = found["A"].clone()
    found["A"][0] += 1  # one row moved: the change has rank one, its factors six columns
    left, right = adapter.low_rank_change(found, layer)
    assert left.shape == (9, 1)
    torch.testing.assert_close(right @ right.mT, torch.eye(1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(left @ right, adapter.delta(found, layer), atol=1e-5, rtol=1e-4)


def reduced_rank(x: torch.Tensor, residual: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return left and right of the (m, n) change of rank `rank` that minimises ||x change^T - residual||: Eckart-Young."""
    q, upper = torch.linalg.qr(x)
    u, s, v = torch.linalg.svd(q.mT @ residual, full_matrices=False)
    return v[:rank].mT, torch.linalg.solve_triangular(upper, u[:, :rank] * s[:rank], upper=True).mT


class TestTheorem:
    """min ||X W^T - Y||: ROSA, section 4."""

    def problem(self, seed: int = 0):
        draw = generator(seed)
        x = torch.randn(40, 10, generator=draw, dtype=torch.float64)
        w0 = torch.randn(6, 10, generator=draw, dtype=torch.float64)
        change = torch.randn(6, 5, generator=draw, dtype=torch.float64) @ torch.randn(
            5, 10, generator=draw, dtype=torch.float64
        )
        y = x @ (w0 + change).mT + 0.1 * torch.randn(40, 6, generator=draw, dtype=torch.float64)
        module = nn.Linear(10, 6, bias=False).double()
        module.weight.data = w0
        return x, y, as_layer("layer", module)

    def loss(self, x, y, layer) -> float:
        return float((layer.module(x) - y).square().sum().detach())

    @pytest.mark.parametrize("rank", [1, 2, 4, 6])
    def test_merging_and_starting_at_zero_reaches_the_full_optimum_in_as_many_steps_as_the_rank_needs(self, rank):
        x, y, layer = self.problem()
        q, _ = torch.linalg.qr(x)
        floor = float((y - q @ (q.mT @ y)).square().sum())
        needed = int(torch.linalg.matrix_rank(q.mT @ (layer.module(x) - y)))
        steps = math.ceil(needed / rank)
        merged, losses = Merged(layer.module), [self.loss(x, y, layer)]
        adapter = RandomSubspace(r=rank, start="zero")
        for step in range(steps):
            found = {name: value.double() for name, value in values(adapter, layer, step).items()}
            assert not adapter.delta(found, layer).any()
            residual = (y - layer.module(x)).detach()
            # Training to the end: alternating least squares on B A. What is left may have a lower rank than B A, which are
            # then dependent: least squares of minimum norm.
            pinv = partial(torch.linalg.pinv, rtol=1e-9)
            for _ in range(300):
                found["B"] = (pinv(x @ found["A"].mT) @ residual).mT
                found["A"] = (pinv(x) @ residual @ pinv(found["B"]).mT).mT
            merged.merge(layer, *adapter.low_rank_change(found, layer))
            losses.append(self.loss(x, y, layer))
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] == pytest.approx(floor, rel=1e-6)
        assert losses[-2] > floor * 1.01, "one step fewer is not enough"

    def test_one_step_reaches_the_tail_energy_which_is_the_floor_of_lora(self):
        x, y, layer = self.problem()
        q, _ = torch.linalg.qr(x)
        floor = float((y - q @ (q.mT @ y)).square().sum())
        s = torch.linalg.svdvals(q.mT @ (y - layer.module(x)).detach())
        Merged(layer.module).merge(layer, *reduced_rank(x, (y - layer.module(x)).detach(), 2))
        assert self.loss(x, y, layer) == pytest.approx(floor + float(s[2:].square().sum()), rel=1e-9)

    def test_splits_at_singular_triplets_descend_monotonically(self):
        x, y, layer = self.problem()
        adapter, losses = RandomSubspace(r=2), [self.loss(x, y, layer)]
        merged = Merged(layer.module)
        for step in range(12):
            found = {k: v.double() for k, v in values(adapter, layer, step).items()}
            base = (x @ (layer.weight().double() - found["B0"] @ found["A0"]).mT).detach()
            for _ in range(3):  # alternating least squares on B A, from the split
                found["B"] = torch.linalg.lstsq(x @ found["A"].mT, y - base).solution.mT
                found["A"] = torch.linalg.lstsq(
                    x, torch.linalg.lstsq(found["B"], (y - base).mT).solution.mT
                ).solution.mT
            merged.merge(layer, *adapter.low_rank_change(found, layer))
            losses.append(self.loss(x, y, layer))
        # Float32 is what weights are read in: as far as that goes, no step ever loses.
        assert all(after <= before * (1 + 1e-5) for before, after in pairwise(losses))
        assert losses[-1] < losses[0] / 2


class TestCarriedSpread:
    def carried(self, old, new, variance, initial=4.0):
        return SubspaceCore(r=2).carried("C", variance, initial, old, new)

    def subspaces(self, first, second):
        frame_out, frame_in = (torch.linalg.qr(torch.randn(8, 8, generator=generator(s)))[0] for s in (1, 2))
        return [{"B": frame_out[:, i] * 2.0, "A": 3.0 * frame_in[i]} for i in (first, second)]

    variance = torch.tensor([[0.1, 0.2], [0.3, 0.4]])

    def test_the_same_subspace_keeps_it(self):
        old, new = self.subspaces([0, 1], [0, 1])
        torch.testing.assert_close(self.carried(old, new, self.variance), self.variance)

    def test_another_order_and_scale_keep_the_variance_of_the_weights(self):
        old, new = self.subspaces([0, 1], [1, 0])
        new = {"B": 0.5 * new["B"], "A": 4 * new["A"]}
        torch.testing.assert_close(self.carried(old, new, self.variance), self.variance.flip(0, 1) / 4)

    def test_an_orthogonal_subspace_starts_anew(self):
        old, new = self.subspaces([0, 1], [2, 3])
        torch.testing.assert_close(self.carried(old, new, self.variance), torch.full((2, 2), 4.0))

    def test_half_of_a_subspace_keeps_its_half(self):
        old, new = self.subspaces([0, 1], [1, 2])
        expected = torch.tensor([[0.4, 4.0], [4.0, 4.0]])
        torch.testing.assert_close(self.carried(old, new, self.variance), expected)

    def test_it_is_the_variance_of_the_projected_deviation(self):
        draw = generator(3)
        old = {"B": torch.randn(6, 2, generator=draw), "A": torch.randn(2, 5, generator=draw)}
        mix = torch.randn(2, 2, generator=draw), torch.randn(2, 2, generator=draw)
        new = {"B": old["B"] @ mix[0], "A": mix[1] @ old["A"]}  # the same spans: nothing is new
        n = 20000
        core = torch.randn(n, 2, 2, generator=draw) * self.variance.sqrt()
        projected = torch.linalg.pinv(new["B"]) @ (old["B"] @ core @ old["A"]) @ torch.linalg.pinv(new["A"])
        ratio = projected.var(0) / self.carried(old, new, self.variance)
        assert (ratio - 1).abs().max() < 4 * math.sqrt(2 / n)

    def test_a_start_at_zero_expresses_nothing_of_it(self):
        old, new = self.subspaces([0, 1], [0, 1])
        new["B"] = torch.zeros_like(new["B"])
        torch.testing.assert_close(self.carried(old, new, self.variance), torch.full((2, 2), 4.0))
