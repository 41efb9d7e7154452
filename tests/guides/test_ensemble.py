"""An ensemble is what its members are: separately trained, equally weighted, never averaged as weights."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import transformers
from torch import Tensor

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.base import Adapter
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError
from bayespeft.fitting.assemble import assemble
from bayespeft.guides.ensemble import Ensemble
from bayespeft.layers.factors import Factor
from bayespeft.methods.ensemble import METHOD
from bayespeft.pretrained.base import quiet
from bayespeft.training.trainer import Trainer

SHORT = TrainConfig(steps=40, lr=1e-2)
OPTIONS = {"targets": "all-linear", "train": SHORT, "progress": False}
THREE = METHOD.replace(guide=Ensemble(members=3))


class Projected(Adapter):
    """y + W P x with a fixed P drawn at random: the case in which members must share more than the base."""

    def factors(self, layer, generator: torch.Generator) -> dict[str, Factor]:
        return {
            "P": Factor(torch.randn(2, layer.in_features, generator=generator), "fixed"),
            "W": Factor(torch.randn(layer.out_features, 2, generator=generator), "latent"),
        }

    def apply(self, factors: Mapping, x: Tensor, y: Tensor, layer) -> Tensor:
        return y + factors["W"].linear(factors["P"].linear(x))

    def delta(self, factors: Mapping[str, Tensor], layer) -> Tensor:
        return factors["W"] @ factors["P"]


@pytest.fixture
def three(mlp, xy):
    return bayespeft.fit(mlp, xy, THREE, **OPTIONS)


def test_the_first_member_is_the_mle_of_the_same_seed(three, mlp, xy):
    mle = bayespeft.fit(mlp, xy, "mle", **OPTIONS)
    for name, value in mle.joint_guide.mean().items():
        assert torch.equal(three.joint_guide.latent.value[name][0], value)


def test_every_member_has_learned_and_no_two_are_equal(three, xy):
    found = three.predict(xy, draws=3, keep_draws=True)
    scores = -found.draw_log_probs.gather(-1, found.labels.expand(3, 60)[..., None])[..., 0].mean(1)
    with torch.no_grad():
        base = torch.nn.functional.cross_entropy(three.model(xy[0]), xy[1])
    assert (scores < base).all()
    assert len(set(scores.tolist())) == 3


def test_the_prediction_averages_probabilities(three, xy):
    found = three.predict(xy, draws=3, keep_draws=True)
    torch.testing.assert_close(found.probs, found.draw_log_probs.double().exp().mean(0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("draws", [10, "auto", 3])
@pytest.mark.parametrize("sampling", ["plain", "antithetic", "sobol"])
def test_draws_are_members_however_many_are_asked_for(three, xy, draws, sampling):
    found = three.predict(xy, draws=draws, sampling=sampling, seed=7)
    assert found.draws == 3
    assert torch.equal(found.log_probs, three.predict(xy, draws=3).log_probs)


def test_one_draw_is_one_member(three, xy):
    for k in range(3):
        with three.using(k) as model:
            log_probs = torch.log_softmax(model(xy[0]), -1)
        all_draws = three.predict(xy, draws=3, keep_draws=True).draw_log_probs
        torch.testing.assert_close(log_probs, all_draws[k], atol=1e-5, rtol=1e-5)


def test_the_mean_of_the_weights_is_refused(three, xy, tmp_path):
    with pytest.raises(ConfigError, match="no member of an ensemble"):
        three.predict(xy, draws=0)
    with pytest.raises(ConfigError, match="average the weights of an ensemble"), three.using("mean"):
        pass
    with pytest.raises(ConfigError, match="average the weights of an ensemble"):
        three.export_peft(tmp_path / "out")
    with pytest.raises(ConfigError, match="start= is an ensemble"):
        bayespeft.fit(three.model, xy, "mle", start=three, **OPTIONS)


def test_a_member_that_is_not_there_is_refused(three):
    with pytest.raises(ConfigError, match="4 draws of an ensemble of 3 members"), three.using(3):
        pass


def test_linearised_prediction_is_refused(three, xy):
    with pytest.raises(ConfigError, match="needs a Gaussian posterior"):
        three.predict(xy, prediction="linearised")


def test_q_has_the_moments_of_the_members(three):
    guide = three.joint_guide.latent
    for name, q in guide.q().items():
        value = guide.value[name]
        torch.testing.assert_close(q.mean, value.mean(0))
        torch.testing.assert_close(q.variance, value.var(0, unbiased=False))
        torch.testing.assert_close(guide.mean()[name], value.mean(0))


def test_history_goes_on_over_members(three):
    history = three.history
    assert history.steps == 3 * 40
    steps = [record.step for record in history.records]
    assert steps == sorted(steps)
    assert steps[-1] == 120


def test_neighbouring_seeds_share_no_member(mlp, xy):
    values = [bayespeft.fit(mlp, xy, THREE, seed=seed, **OPTIONS).joint_guide.latent.value for seed in (0, 1)]
    for name in values[0]:
        assert not any(torch.equal(a, b) for a in values[0][name] for b in values[1][name])


def heads(network, tokenizer, sentences):
    """The weights of the classifier that members begin with, in the coordinates of its inputs, and its own there."""
    still = TrainConfig(steps=1, lr=0, head_lr=0)
    posterior = bayespeft.fit(network, sentences, THREE, tokenizer=tokenizer, train=still, progress=False)
    stack = next(p for p in posterior.joint_guide.stacks if p.role == "head" and p.factor == "W")
    placement = next(p for p in posterior.placements if p.layer.name == "classifier")
    values = posterior.joint_guide.latent.value[stack.name].detach()[:, 0]
    at = posterior.joint_guide.by_layer()["classifier"]
    return values, [placement.adapter.layer(at | {"W": value})["W"] for value in values]


def test_members_begin_at_a_head_that_was_trained(bert, tokenizer, sentences, tmp_path):
    with torch.no_grad():
        bert.classifier.weight.copy_(torch.randn(bert.classifier.weight.shape))
        bert.classifier.bias.copy_(torch.randn(bert.classifier.bias.shape))
    bert.save_pretrained(tmp_path)
    for network in (bert, type(bert).from_pretrained(tmp_path).eval()):
        _, plain = heads(network, tokenizer, sentences)
        for weight in plain:
            torch.testing.assert_close(weight, bert.classifier.weight)
    # What they learn differs all the same, by adapters and the order of the data.
    posterior = bayespeft.fit(bert, sentences, THREE, tokenizer=tokenizer, train=SHORT, progress=False)
    for value in posterior.joint_guide.latent.value.values():
        assert not torch.equal(value[0], value[1])


@pytest.mark.skipif(
    int(transformers.__version__.split(".")[0]) < 5,
    reason="earlier versions don't mark what a checkpoint lacked, and this network looks random as a whole",
)
def test_members_have_fresh_heads_of_their_own(bert, tokenizer, sentences, tmp_path):
    with quiet():
        bert.bert.save_pretrained(tmp_path)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = type(bert).from_pretrained(tmp_path, num_labels=2).eval()
    values, _ = heads(network, tokenizer, sentences)
    assert not values[0].any()
    assert not torch.equal(values[1], values[2])
    # As wide, in the coordinates of its inputs, as the head that the network brought, within 4 standard errors of ln sd.
    ratio = values[1:].std() / network.classifier.weight.detach().std()
    assert abs(float(ratio.log())) < 4 * (1 / (2 * 31) + 1 / (2 * 63)) ** 0.5


def test_members_share_what_is_fixed(mlp, xy):
    method = THREE.replace(adapter=Projected(), train=THREE.train.replace(steps=100))
    with assemble(mlp, source_of(xy), method, targets="all-linear") as assembly:
        problem = assembly.problem
        fresh = problem.fresh_stacks(123)
        for own, other in zip(problem.stacks, fresh, strict=True):
            assert (own.name, own.role) == (other.name, other.role)
            assert torch.equal(own.init, other.init) == (own.role == "fixed")
        Trainer(problem).fit()
        # Each member, run with the shared frame, has the low NLL that it was trained to.
        found = problem.predict(3)
    assert float(-found.log_probs.gather(-1, found.labels[:, None]).mean()) < 1.5


@pytest.mark.parametrize("members", [0, 1])
def test_an_ensemble_has_two_members_at_least(members):
    with pytest.raises(ConfigError, match="members"):
        Ensemble(members=members)
