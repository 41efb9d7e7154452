"""Draws for a decision: the sequential test keeps its level, and decisions are those of all draws."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import ttest_1samp
from torch.utils.data import DataLoader, TensorDataset

from bayespeft.adapters.core import Core
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.prediction.deciding import LEVEL, LOOKS, SHARES, DecidingAverage
from bayespeft.predictive.average import Rows
from tests.prediction.test_predictor import SPEC, predictor
from tests.training.helpers import problem


def stopped(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the class, and the number of draws, at which each of n examples ends, from logits (draws, n, K)."""
    n = logits.shape[1]
    draws, decision = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)
    average, rows, before = DecidingAverage(n), torch.arange(n), 0
    for look in LOOKS:
        average.begin(look - before)
        average.add(logits[before:look].double(), Rows(torch.arange(n)), 0)
        probs = torch.softmax(logits[:look].double(), -1).mean(0)
        done = average.settled(rows, look) | (look == LOOKS[-1])
        new = done & (draws == 0)
        draws[new], decision[new] = look, probs.argmax(-1)[new]
        before = look
    return decision, draws


def drawn(n: int, mean: torch.Tensor, std: float, shared: float = 0.0) -> torch.Tensor:
    """Normal logits, (32, n, K) float64, of which a class has this share of its variance in common with class 0."""
    noise = torch.randn(LOOKS[-1], n, len(mean), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise[..., 1:] = shared**0.5 * noise[..., :1] + (1 - shared) ** 0.5 * noise[..., 1:]
    return mean + std * noise


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


def test_two_classes_are_t_tests_of_their_differences() -> None:
    logits = drawn(500, torch.tensor([0.3, 0.0], dtype=torch.float64), 0.5)
    average, before = DecidingAverage(500), 0
    for look, share in zip(LOOKS[:-1], SHARES, strict=False):
        average.begin(look - before)
        average.add(logits[before:look], Rows(torch.arange(500)), 0)
        before = look
        log_probs = torch.log_softmax(logits[:look], -1)
        sign = torch.sign(log_probs.exp().mean(0)[:, 0] - 0.5)
        in_probs, in_logs = (
            ttest_1samp(((of[..., 0] - of[..., 1]) * sign).numpy(), 0, alternative="greater").pvalue
            for of in (log_probs.exp(), log_probs)
        )
        found = average.settled(torch.arange(500), look).numpy()
        # Of log-probabilities, the sum of the spreads is at least that of the difference, and little more.
        assert not (found & ~((in_probs < share * LEVEL) & (in_logs < share * LEVEL))).any()
        assert (found | ~((in_probs < share * LEVEL / 2) & (in_logs < share * LEVEL / 2))).all()
    assert sum(SHARES) == pytest.approx(1)


def test_draws_stop_where_the_test_says_and_are_the_first_of_all_draws(mlp, xy) -> None:
    with problem(mlp, xy, Core(r=2), MeanField(init_std=(0.05, 0.3))) as p:
        ready = predictor(p)
        every = ready.run(p.examples, draws=LOOKS[-1], seed=0, keep_draws=True)
        found = ready.run(p.examples, draws="decision", seed=0)
    probs = every.draw_log_probs.double().exp()
    decision, draws = stopped(every.draw_log_probs)
    assert found.draws_each.tolist() == draws.tolist()
    assert len(set(draws.tolist())) > 1
    assert found.probs.argmax(-1).tolist() == decision.tolist()
    for i, n in enumerate(draws.tolist()):
        torch.testing.assert_close(found.probs[i], probs[:n, i].mean(0), atol=1e-6, rtol=1e-5)
    assert found.forward_passes == -(-int(draws.sum()) // len(draws)) < every.forward_passes
    assert torch.equal(found.labels, every.labels)
    assert found.draws == int(draws.max())
    all_of = draws == LOOKS[-1]
    torch.testing.assert_close(found.mutual_information[all_of], every.mutual_information[all_of], atol=1e-6, rtol=1e-4)


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
