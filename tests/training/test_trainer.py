"""What guides ask of the trainer: a point to build on, from where the problem starts or trained, and nothing else changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bayespeft.adapters.lora import Lora
from bayespeft.config import TrainConfig
from bayespeft.guides.mean_field import MeanField
from bayespeft.likelihoods.regression import Regression
from bayespeft.training.trainer import Trainer
from tests.training.helpers import problem

TRAIN = TrainConfig(steps=5, batch_size=20, lr=1e-2)


def test_a_point_of_a_fitted_start_is_that_start(mlp, xy):
    with problem(mlp, xy, Lora(r=2), MeanField(), train=TRAIN) as p:
        values, history = Trainer(replace(p, started=True)).point()
        assert history.steps == 0
        assert all(torch.equal(values[stack.name], stack.init) for stack in p.stacks)


def test_a_point_is_trained_beside_the_guide_of_the_problem(mlp, xy):
    with problem(mlp, xy, Lora(r=2), MeanField(), train=TRAIN) as p:
        before = {name: value.clone() for name, value in p.joint_guide.state_dict().items()}
        values, history = Trainer(p).point()
        again, _ = Trainer(p).train_point(p.stacks, p.seed)
        assert history.steps == 5
        assert any(not torch.equal(values[stack.name], stack.init.float()) for stack in p.stacks)
        assert all(torch.equal(values[name], again[name]) for name in values), "the seed decides it"
        assert all(torch.equal(before[name], value) for name, value in p.joint_guide.state_dict().items())


def test_what_is_judged_by_other_rows_stands_in_the_history(mlp, xy):
    with problem(mlp, xy, Lora(r=2), MeanField(), train=TRAIN) as p:
        assert all(record.validation is None for record in Trainer(p).optimise().records)
        judged = Trainer(p, validation=p.examples).fit().records[-1].validation
        assert judged is not None
        assert judged["nll"] > 0


def test_a_noise_that_is_learned_is_that_of_the_likelihood_afterwards(mlp, xy):
    y = xy[0][:, :3] + 0.5 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    train = TRAIN.replace(steps=200)
    with problem(mlp, (xy[0], y), Lora(r=2), MeanField(), likelihood=Regression(noise=None), train=train) as p:
        trainer = Trainer(p)
        trainer.fit()
        assert p.likelihood.noise is not None
        residuals = y - trainer.problem.predict(20).mean
        assert float(p.likelihood.sigma) == pytest.approx(float(residuals.square().mean().sqrt()), rel=0.2)
