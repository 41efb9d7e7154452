"""Adapters that decompose the layer's weight: for a new start, and neither to load a posterior nor to build on one."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.adapters.orthonormal_core import OrthonormalCore
from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.adapters.subspace_core import SubspaceCore
from bayespeft.errors import CheckpointError
from bayespeft.fitting.stacking import make_stacks
from bayespeft.fitting.start import start_stacks
from bayespeft.io import checkpoint
from bayespeft.posterior.fitted import centers_are_saved
from bayespeft.priors.normal import Normal
from tests.adapters.helpers import a_layer

ADAPTERS = {
    "frozen_core": FrozenCore(r=2),
    "orthonormal_core": OrthonormalCore(r=2),
    "subspace": RandomSubspace(r=2, every=None),
    "subspace that merges": RandomSubspace(r=2, every=3, unit="steps"),
    "subspace, zero start": RandomSubspace(r=2, every=3, unit="steps", start="zero"),
    "subspace_core": SubspaceCore(r=2, every=None),
    "subspace_core, randomised": SubspaceCore(r=2, every=2, unit="steps", factorisation="randomised"),
}


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
class TestFramed:
    def test_a_blank_has_the_shapes_and_roles_of_the_start(self, adapter):
        layer, generator = a_layer(7, 5), torch.Generator().manual_seed(0)
        start, blank = adapter.factors(layer, generator), adapter.blank(layer, generator)
        assert list(start) == list(blank)
        for name, factor in start.items():
            assert (blank[name].init.shape, blank[name].role) == (factor.init.shape, factor.role)
            assert (blank[name].center is None) == (factor.center is None)

    def test_load_and_start_decompose_nothing_and_know_where_priors_are_centered(
        self, adapter, mlp, xy, tmp_path, monkeypatch
    ):
        method = registry.get("methods", "map" if type(adapter) is RandomSubspace else "bayes_subspace")
        method = method.replace(adapter=adapter, point_prior=Normal(scale=0.5), train=TrainConfig(steps=7, lr=1e-2))
        base = copy.deepcopy(mlp)
        fitted = bayespeft.fit(mlp, xy, method, targets="all-linear", progress=False)
        fitted.save(tmp_path / "out")
        for solver in ("svd", "svd_lowrank"):
            monkeypatch.setattr(torch, solver, pytest.fail)
        monkeypatch.setattr(torch.linalg, "svd", pytest.fail)
        loaded = bayespeft.load(tmp_path / "out", base)
        assert torch.equal(loaded.predict(xy, draws=3).log_probs, fitted.predict(xy, draws=3).log_probs)
        ours, theirs = loaded.joint_guide, fitted.joint_guide
        centers = [name for name, _ in theirs.named_buffers() if name.startswith("center_")]
        # Those of a core between fixed frames are all zero.
        assert any(theirs.get_buffer(name).any() for name in centers) != isinstance(adapter, FrozenCore)
        trained = {stack.name for stack in theirs.sampled}
        for name in centers:
            if name.removeprefix("center_") in trained:
                assert torch.equal(ours.get_buffer(name), theirs.get_buffer(name)), name
        q, p, saved = ours.q(), ours.priors(), theirs.priors()
        for name in trained:
            value = q[name].mean
            assert torch.equal(p[name].log_prob(value), saved[name].log_prob(value)), name
        brief = TrainConfig(steps=1, lr=1e-6)
        further = bayespeft.fit(base, xy, "mle", adapter=adapter.kind, start=loaded, train=brief, progress=False)
        means = loaded.joint_guide.mean()
        for name, value in further.joint_guide.mean().items():
            torch.testing.assert_close(value, means[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("center/A_2x5"), "lacks tensor 'center/A_2x5'"),
        (lambda t: t.update({"center/A_2x5": torch.zeros(1)}), r"'center/A_2x5' .* has shape \(1,\)"),
        (lambda t: t.update({"center/foo": torch.zeros(1)}), "has the unknown tensor 'center/foo'"),
    ],
)
def test_centers_are_read_strictly(change, message, mlp, xy, tmp_path):
    base = copy.deepcopy(mlp)
    brief = TrainConfig(steps=1, lr=1e-2)
    options = {"targets": "all-linear", "train": brief, "progress": False}
    bayespeft.fit(mlp, xy, "melora", adapter=OrthonormalCore(r=2), **options).save(tmp_path / "out")
    tensors, settings = checkpoint.read(tmp_path / "out")
    change(tensors)
    checkpoint.write(tmp_path / "out", tensors, settings)
    with pytest.raises(CheckpointError, match=message):
        bayespeft.load(tmp_path / "out", base)


def test_members_of_an_ensemble_share_the_triplets_that_they_start_from(mlp, xy):
    """Fixed factors are shared: with other triplets of its own, a member would not start at the network."""
    expected = mlp(xy[0]).detach()
    method = registry.get("methods", "ensemble").replace(
        adapter=RandomSubspace(r=2, every=None), train=TrainConfig(steps=1, lr=1e-9)
    )
    ensemble = bayespeft.fit(mlp, xy, method, targets="all-linear", progress=False)
    for member in range(3):
        with ensemble.using(member) as network:
            torch.testing.assert_close(network(xy[0]), expected, atol=1e-5, rtol=0)


def test_what_a_start_lacks_is_found_in_the_weight(mlp, xy):
    brief = TrainConfig(steps=1, lr=1e-9)
    start = bayespeft.fit(mlp, xy, "mle", adapter=FrozenCore(r=2), targets="all-linear", train=brief, progress=False)
    placements, method = start.placements, start.method
    known = {stack.name: stack for stack in start.joint_guide.stacks}
    start.joint_guide.stacks = tuple(stack for stack in known.values() if stack.factor != "B")
    stacks = start_stacks(placements, method, torch.Generator(), start)
    fresh = make_stacks(placements, method, torch.Generator())
    for ours, theirs in zip(stacks, fresh, strict=True):
        assert torch.equal(ours.init, theirs.init)
    start.joint_guide.stacks = tuple(known.values())
    assert not any(stack.init.any() for stack in start_stacks(placements, method, torch.Generator(), start))


@pytest.mark.parametrize(
    ("decomposes", "interval", "anchors"),
    [(False, None, ()), (True, None, ()), (False, 3, ()), (False, None, ("A",))],
)
def test_a_file_holds_centers_that_the_base_can_not_tell(decomposes, interval, anchors):
    adapter = SimpleNamespace(decomposes=decomposes, anchors=frozenset(anchors), merge_interval=lambda steps: interval)
    other = SimpleNamespace(decomposes=False, anchors=frozenset(), merge_interval=lambda steps: None)
    placements = [SimpleNamespace(adapter=other), SimpleNamespace(adapter=adapter)]
    assert centers_are_saved(placements) == (decomposes or interval is not None or bool(anchors))
