"""Draws for a decision: the sequential test keeps its level, and decisions are those of all draws."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import ttest_1samp
from torch.utils.data import DataLoader, TensorDataset

from bayespeft.adapters.core import Core
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.prediction.deciding import ALONE, LEVEL, LOOKS, QUANTILES, SHARES, DecidingAverage, Mirrored, units
from bayespeft.prediction.sampling import Noise
from bayespeft.predictive.average import Rows
from tests.prediction.test_predictor import SPEC, predictor
from tests.training.helpers import problem


def stopped(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the class, and the number of draws, at which each of n examples ends, from logits (draws, n, K)."""
    n = logits.shape[1]
    draws, decision = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)
    average, before = DecidingAverage(n), 0
    for look in LOOKS:
        rows = (draws == 0).nonzero()[:, 0]
        if not len(rows):
            break
        average.announce(look - before, rows)
        average.add(logits[before:look, rows].double(), Rows(rows), 0)
        probs = torch.softmax(logits[:look, rows].double(), -1).mean(0)
        done = average.settled(rows, look) | (look == LOOKS[-1])
        draws[rows[done]], decision[rows[done]] = look, probs.argmax(-1)[done]
        before = look
    return decision, draws


def mirrored(size: int) -> torch.Tensor:
    """Standard normals (32, size) in the order of the rounds, float64."""
    noise = Mirrored(Noise("plain", size, 0))
    return torch.cat([noise.take(before, after) for before, after in pairwise((0, *LOOKS))]).double()


def drawn(n: int, mean: torch.Tensor, std: float, shared: float = 0.0) -> torch.Tensor:
    """Normal logits, (32, n, K) float64, of which a class has this share of its variance in common with class 0."""
    noise = mirrored(n * len(mean)).reshape(LOOKS[-1], n, len(mean))
    noise[..., 1:] = shared**0.5 * noise[..., :1] + (1 - shared) ** 0.5 * noise[..., 1:]
    return mean + std * noise


def bent(n: int, directions: int, sign: float, std: float = 0.3, share: float = 0.25) -> torch.Tensor:
    """Logits of two classes in a tie, (32, n, 2): their difference has a normal part and one that is quadratic in the noise.

    Args:
        n: examples.
        directions: of the noise that the quadratic part squares.
        sign: of the quadratic part.
        std: of the normal part.
        share: standard deviation of the quadratic part, in units of that.
    """
    noise = mirrored(n * (directions + 1)).reshape(LOOKS[-1], n, directions + 1)

    def difference(z: torch.Tensor) -> torch.Tensor:
        square = (z[..., 1:].square() - 1).sum(-1) / math.sqrt(2 * directions)
        return std * (z[..., 0] + sign * share * square)

    many = difference(torch.randn(400_000, directions + 1, generator=torch.Generator().manual_seed(1)).double())
    # Where the probabilities of infinitely many draws are in a tie.
    shift = brentq(lambda t: float(torch.sigmoid(many + t).mean()) - 0.5, -5, 5)
    found = difference(noise) + shift
    return torch.stack([found, torch.zeros_like(found)], -1)


@pytest.mark.parametrize("shared", [0.0, 0.8])
@pytest.mark.parametrize("std", [0.3, 2.0])
@pytest.mark.parametrize(("classes", "tied"), [(2, 2), (3, 2), (10, 2), (10, 4)])
def test_a_tie_is_settled_on_a_class_with_no_more_than_the_level(classes, tied, std, shared) -> None:
    n = 10_000
    # Infinitely many draws would prefer class 0 by next to nothing: the hardest case, where half of all that stops is wrong.
    mean = torch.zeros(classes, dtype=torch.float64)
    mean[tied:] = -10
    decision, draws = stopped(drawn(n, mean, std, shared))
    wrong = float(((draws < LOOKS[-1]) & (decision != 0)).double().mean())
    assert wrong <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / n)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize(("directions", "level"), [(2, LEVEL), (3, LEVEL), (20, LEVEL), (1, 2 * LEVEL)])
def test_a_quadratic_part_does_not_break_the_level_unless_it_has_one_direction(directions, level, sign) -> None:
    n = 10_000
    decision, draws = stopped(bent(n, directions, sign))
    early = draws < LOOKS[-1]
    for wrong in (0, 1):
        assert float((early & (decision == wrong)).double().mean()) <= level + 3 * math.sqrt(level * (1 - level) / n)
    assert float(early.double().mean()) > LEVEL / 2


@pytest.mark.parametrize("look", sorted(QUANTILES))
def test_quantiles_of_pairs_are_those_of_exponential_units(look) -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.empty(1_000_000, look // 2).exponential_(generator=generator).double() - 1
    t = own.mean(1) / own.std(1) * (look // 2) ** 0.5
    share = SHARES[LOOKS.index(look)] * LEVEL
    assert float((t < -QUANTILES[look]).double().mean()) == pytest.approx(share, rel=0.05)


def test_draws_are_mirrored_in_the_order_that_pairs_are_made_of_them() -> None:
    noise = mirrored(4)
    assert torch.equal(units(noise), torch.zeros(LOOKS[-1] // 2, 4).double())
    assert torch.equal(units(noise[:ALONE]), noise[:ALONE])
    assert len(noise[:ALONE].unique(dim=0)) == ALONE
    assert torch.equal(noise[: LOOKS[0]], Noise("plain", 4, 0).take(LOOKS[0]).double())
    assert torch.equal(units(noise[:16].square()), torch.cat([noise[:ALONE], noise[2 * ALONE : 16 : 2]]).square())


def test_the_test_has_power_and_the_level_is_not_idle() -> None:
    n = 20_000
    decision, draws = stopped(drawn(n, torch.zeros(2, dtype=torch.float64), 0.5))
    early = draws < LOOKS[-1]
    wrong = float((early & (decision != 0)).double().mean())
    assert wrong > LEVEL / 4  # a test that never stops keeps any level
    decision, draws = stopped(drawn(n, torch.tensor([2.0, 0.0], dtype=torch.float64), 0.2))
    assert float(draws.double().mean()) < 4
    assert (decision == 0).all()


def test_classes_far_behind_cost_no_draws() -> None:
    mean = torch.full((20,), -10, dtype=torch.float64)
    mean[0], mean[1] = 2, 0
    _, draws = stopped(drawn(5_000, mean, 0.2))
    assert float(draws.double().mean()) < 4


def test_it_is_t_tests_of_differences_of_draws_or_of_pairs() -> None:
    logits = drawn(500, torch.tensor([0.3, 0.0, -0.2], dtype=torch.float64), 0.5) + 0.1 * torch.randn(
        LOOKS[-1], 500, 3, generator=torch.Generator().manual_seed(2)
    )
    average, before, rows = DecidingAverage(500), 0, torch.arange(500)
    for look, share in zip(LOOKS[:-1], SHARES, strict=False):
        average.announce(look - before, rows)
        average.add(logits[before:look], Rows(rows), 0)
        before = look
        log_probs = torch.log_softmax(logits[:look], -1)
        top = log_probs.exp().mean(0).argmax(-1)
        wanted = torch.ones(500, dtype=torch.bool)
        for values in (log_probs, log_probs.exp()):
            for other in range(3):
                difference = units(values.gather(-1, top.expand(look, -1)[..., None])[..., 0] - values[..., other])
                found = ttest_1samp(difference.numpy(), 0, alternative="greater")
                passed = found.statistic > QUANTILES[look] if look in QUANTILES else found.pvalue < share * LEVEL
                wanted &= torch.from_numpy(passed) | (top == other)
        assert torch.equal(average.settled(rows, look), wanted)
        assert 0 < int(wanted.sum()) < 500
    assert sum(SHARES) == pytest.approx(1)


def test_draws_stop_where_the_test_says_and_are_the_first_of_all_draws(mlp, xy, monkeypatch) -> None:
    with problem(mlp, xy, Core(r=2), MeanField(init_std=(0.05, 0.3))) as p:
        ready = predictor(p)
        found = ready.run(p.examples, draws="decision", seed=0)
        ordered = mirrored(p.joint_guide.latent.noise_size).float()
        monkeypatch.setattr(Noise, "take", lambda self, n: ordered[:n])
        every = ready.run(p.examples, draws=LOOKS[-1], seed=0, keep_draws=True)
    probs = every.draw_log_probs.double().exp()
    decision, draws = stopped(every.draw_log_probs)
    assert found.draws_each.tolist() == draws.tolist()
    assert len(set(draws.tolist())) > 1
    assert found.probs.argmax(-1).tolist() == decision.tolist()
    for i, n in enumerate(draws.tolist()):
        torch.testing.assert_close(found.probs[i], probs[:n, i].mean(0), atol=1e-6, rtol=1e-5)
        own = units(probs[:n, i])
        bias = (own.var(0, correction=1) / len(own) / own.mean(0)).sum() / 2
        torch.testing.assert_close(found.information_bias[i], bias, atol=1e-7, rtol=1e-3)
    assert found.forward_passes == -(-int(draws.sum()) // len(draws)) < every.forward_passes
    assert torch.equal(found.labels, every.labels)
    assert found.draws == int(draws.max())


def test_batches_folding_and_order_change_no_decision(mlp, xy) -> None:
    def shuffled(data):
        return DataLoader(data, 7, shuffle=True, generator=torch.Generator().manual_seed(0))

    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        base = ready.run(p.examples, draws="decision", seed=0)
        other = ready.run(p.examples, draws="decision", seed=0, batch_size=7, draws_per_pass=1)
        mixed = ready.run(source_of(shuffled(TensorDataset(*xy))).examples(), draws="decision", seed=0)
    assert torch.equal(base.draws_each, other.draws_each)
    torch.testing.assert_close(base.probs, other.probs, atol=1e-5, rtol=1e-4)
    assert mixed.draws_each.sort().values.tolist() == base.draws_each.sort().values.tolist()
    torch.testing.assert_close(mixed.probs.sort(0).values, base.probs.sort(0).values, atol=1e-6, rtol=1e-5)


def test_what_is_settled_is_run_no_more(mlp, xy, monkeypatch) -> None:
    rows = []
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        monkeypatch.setattr(DecidingAverage, "settled", lambda self, rows, draws: rows % 2 == 0)
        handle = mlp.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
        found = predictor(p).run(p.examples, draws="decision", seed=0)
        handle.remove()
    assert sum(rows) == int(found.draws_each.sum())


def test_a_point_is_decided_by_one_pass_and_what_has_no_decision_is_refused(mlp, xy) -> None:
    with problem(mlp, xy, Core(r=2), Point()) as p:
        assert predictor(p).run(p.examples, draws="decision", seed=0).forward_passes == 1
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        for wrong in ({"sampling": "sobol"}, {"keep_draws": True}):
            with pytest.raises(ConfigError, match="draws='decision'"):
                ready.run(p.examples, draws="decision", seed=0, **wrong)
