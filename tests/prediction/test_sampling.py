"""Noise: Gaussian whatever its kind, the same by seed, and better spread where it claims to be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, qmc

from bayespeft.adapters.core import Core
from bayespeft.errors import ConfigError, DataError
from bayespeft.guides.mean_field import MeanField
from bayespeft.prediction.predictor import MOST, UNITS
from bayespeft.prediction.sampling import Noise, Replicates
from bayespeft.predictive.average import REPLICATES
from tests.prediction.test_predictor import predictor
from tests.training.helpers import problem

KINDS = ["plain", "antithetic", "sobol"]
SPEC = MeanField(init_std=(0.5, 1.0))


@pytest.mark.parametrize("size", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_has_as_many_numbers_as_asked_for(kind, size):
    noise = Noise(kind, size, seed=0).take(3)
    assert noise.shape == (3, size)
    assert len(noise.unique()) == 3 * size or kind == "antithetic"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("replicates", [False, True])
def test_every_element_is_standard_normal_and_elements_are_uncorrelated(kind, replicates):
    n, size = 2048, 6
    noise = Noise(kind, size, seed=0, replicates=replicates).take(n)
    assert noise.shape == (n, size)
    for column in noise.T:
        assert kstest(column.numpy(), "norm").pvalue > 1e-4
    off = torch.corrcoef(noise.T) - torch.eye(size)
    # Antithetic pairs halve the number of independent products.
    assert float(off.abs().max()) < 4 * (2 / n) ** 0.5


@given(st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 40), st.integers(0, 2**31), st.booleans())
def test_the_first_vectors_do_not_depend_on_how_many_follow(kind, few, more, seed, replicates):
    several = Noise(kind, 5, seed, replicates=replicates).take(few + more)
    pieces = Noise(kind, 5, seed, replicates=replicates)
    assert torch.equal(torch.cat([pieces.take(few), pieces.take(more)]), several)


def test_another_seed_is_another_sequence():
    for kind in KINDS:
        assert not torch.equal(Noise(kind, 5, 0).take(4), Noise(kind, 5, 1).take(4))


def test_antithetic_pairs_cancel_all_that_is_odd():
    noise = Noise("antithetic", 7, 0).take(10)
    assert float(noise.sum(0).abs().max()) == 0


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 3))
def test_blocks_of_a_sobol_sequence_change_no_point(size, wanted, seed):
    at_once, one_by_one = Noise("sobol", size, seed), Noise("sobol", size, seed)
    assert torch.equal(at_once.take(wanted), torch.cat([one_by_one.take(1) for _ in range(wanted)]))


def test_normals_of_one_seed_are_made_once(monkeypatch):
    made = []
    points = Noise._points
    monkeypatch.setattr(Noise, "_points", lambda self, wanted: made.append(wanted) or points(self, wanted))
    normals = Replicates(12345, 256)
    found = normals.of_size(3)
    assert found.shape == (256, 3)
    assert made == [256 // REPLICATES] * REPLICATES
    assert torch.equal(Replicates(12345, 256).of_size(3), found)
    assert len(made) == REPLICATES, "the next batch, and the next call, take the same"
    groups = found.reshape(REPLICATES, -1, 3)
    assert not torch.equal(groups[0], groups[1])
    for other in (Replicates(12346, 256).of_size(3), normals.of_size(4)[:, :3]):
        assert not torch.equal(other, found)


def test_replicates_of_a_sobol_sequence_are_scrambled_anew():
    """Sixteen points of one scrambling fall into the sixteen equal parts of each axis, one into each; of two they don't."""

    def evenly(noise: Noise) -> bool:
        parts = (16 * torch.special.ndtr(noise.take(16).double())).long()
        return all(sorted(column.tolist()) == list(range(16)) for column in parts.T)

    noise, replicates = Noise("sobol", 3, 0), Noise("sobol", 3, 0, replicates=True)
    assert (noise.unit, replicates.unit) == (None, 8)
    assert evenly(noise)
    assert not evenly(replicates)


def test_sobol_and_antithetic_averages_err_less_than_plain_ones():
    def variance(kind: str) -> float:
        # A smooth function of few directions, mean E[exp(z1/2)] = exp(1/8).
        means = [torch.exp(0.5 * Noise(kind, 3, seed).take(16)[:, 0]).mean() for seed in range(200)]
        return float(((torch.stack(means) - torch.exp(torch.tensor(0.125))) ** 2).mean())

    plain, antithetic, sobol = map(variance, KINDS)
    # Variance ratios of 200 replicates have relative error .14: these margins are wide. Theory: antithetic .12.
    assert antithetic < 0.5 * plain
    assert sobol < 0.25 * plain


def test_impossible_noise_is_an_error():
    with pytest.raises(ConfigError, match="antithetic"):
        Noise("halton", 3, 0)
    with pytest.raises(ConfigError, match=r"21,201 random numbers a draw, and here a draw takes 21,202"):
        Noise("sobol", qmc.Sobol.MAXDIM + 1, 0)


@pytest.mark.parametrize("sampling", KINDS)
def test_prediction_by_any_noise_has_the_same_expectation(mlp, xy, sampling):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        exact = ready.run(p.examples, 4000, 1)
        few = [ready.run(p.examples, 8, seed, sampling=sampling).probs for seed in range(60)]
        error = torch.stack(few).std(0) / 60**0.5 + 0.01
        assert ((torch.stack(few).mean(0) - exact.probs).abs() < 4 * error).all()


def test_the_stated_error_of_the_nll_is_its_spread_over_seeds(mlp, xy):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        runs = [ready.run(p.examples, 64, seed) for seed in range(80)]
        index = torch.arange(len(xy[1]))
        nlls = torch.stack([-r.log_probs[index, xy[1]].mean() for r in runs])
        stated = torch.tensor([r.nll_error for r in runs]).mean()
        # The sd of 80 values has relative error 1 / sqrt(160) = 8 %; the delta method is first order.
        assert float(stated / nlls.std()) == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("sampling", KINDS)
def test_auto_stops_when_the_error_is_small_enough(mlp, xy, sampling):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        loose = ready.run(p.examples, "auto", 0, sampling=sampling, tolerance=10.0)
        tight = ready.run(p.examples, "auto", 0, sampling=sampling, tolerance=0.02)
        never = ready.run(p.examples, "auto", 0, sampling=sampling, tolerance=1e-9)
        assert loose.draws == UNITS * {"plain": 1, "antithetic": 2, "sobol": 8}[sampling]
        assert loose.draws <= tight.draws <= never.draws == MOST
        assert tight.nll_error <= 0.02 or tight.draws == MOST
        assert tight.forward_passes == tight.draws


def test_auto_needs_labels_and_no_other_word_will_do(mlp, xy):
    with problem(mlp, xy[0], Core(r=2), SPEC) as p:
        ready = predictor(p)
        with pytest.raises(DataError, match="needs labels"):
            ready.run(p.examples, "auto", 0)
        with pytest.raises(ConfigError, match="'auto'"):
            ready.run(p.examples, "many", 0)
        with pytest.raises(ConfigError, match="above 0"):
            ready.run(p.examples, "auto", 0, tolerance=0.0)
