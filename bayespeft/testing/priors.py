"""What every prior owes the house."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bayespeft.errors import GuideError
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.layers.factors import StackedFactor
from bayespeft.priors.base import Prior
from bayespeft.testing.fits import check_round_trip, method_of
from bayespeft.utils.randomness import seeded
from bayespeft.variational.joint_guide import JointGuide
from bayespeft.variational.kl import closed_form, log_density
from bayespeft.variational.reported import reported_kl


class PriorContract:
    """Tests of one prior.

    Attributes:
        prior: with the settings that are tested.
        guide: what is fitted under it.
    """

    prior: Prior
    guide: GuideSpec = MeanField(init_std=(0.1, 0.1))

    @pytest.fixture
    def subject(self) -> Prior:
        """The prior that is tested."""
        return self.prior

    def guide_of(self, prior: Prior) -> GuideSpec:
        """What is fitted under it: a point, where it has no density."""
        return self.guide if prior.proper else Point()

    def test_every_dimension_is_an_event(self, subject: Prior) -> None:
        """One law of a whole stack: a batch dimension would be taken for one of the data."""
        law = subject.distribution(torch.ones(2, 3))
        assert (law.batch_shape, law.event_shape) == ((), (2, 3))

    def test_the_density_is_highest_at_the_center(self, subject: Prior) -> None:
        """The center is what is believed: the objective of points is measured from there."""
        center = torch.ones(2, 3)
        law = subject.distribution(center)
        if not subject.proper or law.support is None or law.support.is_discrete:
            pytest.skip("it has no density")
        generator = torch.Generator().manual_seed(0)
        away = [
            center + scale * torch.randn(2, 3, generator=generator) for scale in (0.01, 0.1, 1.0) for _ in range(20)
        ]
        best = float(law.log_prob(center))
        assert all(float(law.log_prob(value)) <= best for value in away)

    def test_kl_is_that_of_the_draws(self, subject: Prior) -> None:
        """A Gaussian's KL to it, by a formula or by Monte Carlo, is E_q[ln q - ln prior], within five standard errors."""
        if not subject.proper:
            with pytest.raises(GuideError, match="needs a proper prior"):
                self._joint_guide(subject, MeanField())
            return
        joint_guide = self._joint_guide(subject, self.guide)
        (name, reported), stack = reported_kl(joint_guide).popitem(), joint_guide.stacks[0]
        q = joint_guide.q()[name]
        law, constant = subject.reported(stack.center, q)
        assert subject.closed_form is False or closed_form(q, law) is not None
        with seeded(7), torch.no_grad():
            drawn = q.rsample(torch.Size([4000]))
            ratios = (log_density(q, drawn).sum(-1) - log_density(law, drawn).sum(-1)).double()
        allowed = 5 * ((float(ratios.std()) / len(ratios) ** 0.5) ** 2 + (reported.error or 0.0) ** 2) ** 0.5 + 1e-3
        assert abs(float(reported.nats.sum()) - float(ratios.mean()) - constant * stack.init.numel()) < allowed

    def test_json_round_trip(self, subject: Prior) -> None:
        """Settings are read as they were written, by the registered name."""
        assert Prior.model_validate(json.loads(subject.model_dump_json())) == subject

    def test_fits_saves_loads_and_predicts(self, subject: Prior, tmp_path: Path) -> None:
        """A posterior under it trains on a network, and is the same when it is loaded."""
        check_round_trip(method_of(guide=self.guide_of(subject), prior=subject), tmp_path)

    def test_serves_point_factors_or_says_why_not(self, subject: Prior, tmp_path: Path) -> None:
        """Around a point it is a penalty; a scale that is learned from a spread has none there to learn from."""
        method = method_of(point_prior=subject)
        if subject.needs_spread:
            with pytest.raises(GuideError, match="learns a scale from the spread"):
                check_round_trip(method, tmp_path)
            return
        check_round_trip(method, tmp_path)

    def _joint_guide(self, prior: Prior, guide: GuideSpec) -> JointGuide:
        init = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
        stack = StackedFactor("C_2x4", "C", ("a", "b", "c"), "latent", init, prior, init + 0.1)
        return JointGuide([stack], guide, torch.Generator().manual_seed(0))
