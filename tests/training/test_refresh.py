"""Merge and go on: what the optimiser forgets, what spread is carried over, when, and how long it takes."""

from __future__ import annotations

import pytest
import torch

from bayespeft.adapters.frames import full_svd
from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.adapters.subspace_core import SubspaceCore
from tests.layers.merging import fit, weights


@pytest.mark.parametrize(("every", "splits"), [(None, 1), (4, 2), (2, 4)])
def test_seconds_hold_every_decomposition_from_the_first_on(every, splits, mlp, xy, monkeypatch):
    now = 0.0

    def slow(weight):
        nonlocal now
        now += 100.0
        return full_svd(weight)

    monkeypatch.setattr("bayespeft.adapters.subspace.full_svd", slow)
    monkeypatch.setattr("time.perf_counter", lambda: now)
    adapter = RandomSubspace(r=2, every=every, unit="steps")
    history = fit(mlp, xy, adapter=adapter).history
    assert history.refresh_seconds == history.seconds == splits * 3 * 100


def test_moments_are_forgotten_and_the_learning_rate_is_not(mlp, xy, monkeypatch):
    from bayespeft.training import loop as svi

    seen = []
    original = svi.Refresher.__call__

    def spy(self, done, optimiser):
        rate = optimiser.param_groups[0]["lr"]
        original(self, done, optimiser)
        seen.append((done, len(optimiser.state), rate, optimiser.param_groups[0]["lr"]))

    monkeypatch.setattr(svi.Refresher, "__call__", spy)
    fit(mlp, xy)
    assert [done for done, *_ in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert all((count == 0) == (done % 3 == 0) for done, count, *_ in seen)
    assert all(before == after for *_, before, after in seen)
    rates = [rate for *_, rate in seen]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1] > 0


def test_no_re_split_leaves_the_network_alone(mlp, xy):
    before = weights(mlp)
    posterior = fit(mlp, xy, adapter=RandomSubspace(r=2, every=None))
    assert posterior.merged is None
    assert all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())


def test_re_splits_count_in_epochs_of_the_data(mlp, xy):
    posterior = fit(mlp, xy, adapter=RandomSubspace(r=1, every=1, start="zero", orthogonalise=True), steps=9)
    # 60 rows in batches of 16 are 4 steps an epoch: merges after 4 and 8.
    assert posterior.merged.low_rank("2")[0].shape[1] == 2
    assert posterior.history.refresh_seconds > 0


def test_what_a_merge_carries_over_is_computed_from_the_factors_before_and_after(mlp, xy, monkeypatch):
    seen = []
    original = SubspaceCore.carried

    def spy(self, name, variance, initial, old, new):
        found = original(self, name, variance, initial, old, new)
        seen.append(
            (
                variance.clone(),
                found.clone(),
                {k: v.clone() for k, v in old.items()},
                {k: v.clone() for k, v in new.items()},
            )
        )
        return found

    monkeypatch.setattr(SubspaceCore, "carried", spy)
    posterior = fit(mlp, xy, "bayes_subspace", steps=4)
    cores = [call for call in seen if call[0].shape == (2, 2)]
    assert cores
    for _, _, old, new in cores:
        assert (old["B"] - new["B"]).abs().max() > 1e-3, "the factors before the merge, not those after it"
        torch.testing.assert_close(new["B"], new["B0"])
    assert any((before - after).abs().max() > 1e-4 for before, after, *_ in cores)
    assert posterior.predict(xy, draws=2).log_probs.isfinite().all()
