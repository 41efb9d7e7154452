"""Blocks in turn: which rows move when, that a single stage is ordinary training, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.full import Full
from bayespeft.adapters.lora import Lora
from bayespeft.errors import ConfigError
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.priors.normal import Normal
from bayespeft.training.layerwise import in_turn, resting_rows, stages
from bayespeft.training.loop import run
from bayespeft.training.optimiser import make_optimiser
from tests.training.helpers import Direct, problem

TRAIN = TrainConfig(steps=6, batch_size=20, lr=0.05, variational_lr=0.05, weight_decay=0.3, layers_at_once=1)


@pytest.fixture
def net() -> nn.Module:
    """Three blocks and a layer without a number, of one shape, so that they share a stack; then a narrower one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blocks = nn.Sequential(*(nn.Sequential(nn.Linear(5, 5), nn.Tanh()) for _ in range(3)))
        net = nn.Sequential()
        net.add_module("blocks", blocks)
        net.add_module("pooler", nn.Linear(5, 5))
        net.add_module("out", nn.Linear(5, 3))
        return net


def snapshots(p, **options):
    """State after each step, the one before the first included; the state of the optimiser is the last return value."""
    found = [{name: value.detach().clone() for name, value in p.joint_guide.named_parameters()}]

    def after(_, joint_guide):
        found.append({name: value.detach().clone() for name, value in joint_guide.named_parameters()})

    history = run(p, after=after, **options)
    return found, history


def moved(before, after, p):
    """Layers that some parameter moved at, by name."""
    rows = {stack.name: stack.layers for stack in p.stacks}
    return {
        layer
        for name in before
        for row, layer in enumerate(rows[name.rsplit(".", 1)[-1]])
        if not torch.equal(before[name][row], after[name][row])
    }


@pytest.mark.parametrize("guide", [Point(), MeanField(noise="example"), MeanField(noise="flipout")], ids=str)
def test_the_last_block_moves_first_and_what_rests_is_bit_equal(net, xy, guide):
    # Under a proper prior what rests has gradients that must not move it, and weight decay neither.
    with problem(net, xy, Direct(), guide, latent_prior=Normal(scale=1.0), train=TRAIN) as p:
        found, _ = snapshots(p)
        always = {"pooler", "out"}
        for step, (before, after) in enumerate(pairwise(found)):
            block = f"blocks.{2 - step // 2}.0"
            assert moved(before, after, p) == always | {block}
        assert p.joint_guide.resting == {}
        assert not any(parameter._backward_hooks for parameter in p.joint_guide.parameters())


def test_what_rests_takes_no_gradient_and_cuts_the_backward_pass(net, xy):
    with problem(net, xy, Full(), Point(), train=TRAIN) as p, in_turn(p, make_optimiser(p), 6) as begin:
        begin(0)
        batch = next(iter(p.examples.batches(20)))
        inputs = {}
        handles = [
            net.blocks[i][0].register_forward_hook(lambda _, args, out, i=i: inputs.update({i: out.requires_grad}))
            for i in range(3)
        ]
        p.loss(batch, 1.0)
        for handle in handles:
            handle.remove()
        # The outputs of the blocks below the one in training are constants: nothing is kept for a backward pass.
        assert inputs == {0: False, 1: False, 2: True}


def test_one_stage_is_ordinary_training(net, xy):
    fitted = []
    for at_once in (None, 3, 7):
        train = TRAIN.replace(layers_at_once=at_once)
        with problem(net, xy, Direct(), MeanField(), train=train) as p:
            run(p)
            fitted.append(p.joint_guide.state_dict())
    for other in fitted[1:]:
        assert all(torch.equal(fitted[0][name], other[name]) for name in other)


def test_weight_decay_of_what_is_trained_is_adamws_own(net, xy):
    """A step in the only block in training is the step of ordinary training, decay and all."""
    results = []
    for at_once in (None, 1):
        train = TRAIN.replace(layers_at_once=at_once, steps=3, clip=0, warmup=0, lr_schedule="constant")
        with problem(net, xy, Full(), Point(), train=train) as p:
            found, _ = snapshots(p)
            row = {stack.name: stack.rows for stack in p.stacks}["W_5x5"]["blocks.2.0"]
            results.append(found[1]["points.value.W_5x5"][row])
    assert torch.equal(*results)


def test_a_stage_begins_without_the_moments_of_the_one_before(net, xy):
    """After its first step Adam's parameters have moved by lr times the sign of the gradient, with fresh moments."""
    train = TRAIN.replace(weight_decay=0.0, warmup=0, lr_schedule="constant", clip=0, lr=1e-3)
    with problem(net, xy, Full(), Point(), train=train) as p:
        found, _ = snapshots(p)
        rows = {stack.name: stack.rows for stack in p.stacks}["W_5x5"]
        for stage, layer in enumerate(("blocks.2.0", "blocks.1.0", "blocks.0.0")):
            before, after = (found[2 * stage + i]["points.value.W_5x5"][rows[layer]] for i in (0, 1))
            torch.testing.assert_close((after - before).abs(), torch.full((5, 5), 1e-3), atol=0, rtol=0.01)


def test_prior_terms_count_every_layer_at_every_stage(net, xy):
    # What rests still has its KL: the objective is that of the whole network.
    with problem(net, xy, Direct(), MeanField(), train=TRAIN.replace(lr=0.0, variational_lr=0.0)) as p:
        _, history = snapshots(p)
        assert len({record.kl for record in history.records}) == 1
        ordinary = p.prior_terms()[0]
        assert history.records[0].kl == ordinary > 0


def test_gradients_at_rest_do_not_count_for_clipping(net, xy):
    """Micro-batches, too, add up to gradients that are zero at rest."""
    train = TRAIN.replace(accumulate=2, batch_size=10)
    with (
        problem(net, xy, Direct(), MeanField(), train=train) as p,
        in_turn(p, make_optimiser(p), 6) as begin,
    ):
        begin(3)
        for batch in list(p.examples.batches(10))[:2]:
            torch.autograd.backward(p.loss(batch, 1.0)[0])
        for stack in p.stacks:
            for parameter in (p.joint_guide.latent.loc[stack.name], p.joint_guide.latent.raw[stack.name]):
                norms = parameter.grad.flatten(1).norm(dim=1)
                at_rest = [layer in ("blocks.0.0", "blocks.2.0") for layer in stack.layers]
                assert [bool(norm == 0) for norm in norms] == at_rest


def test_stages_cover_the_blocks_once_from_the_last_to_the_first(net, xy):
    for size, expected in ((1, [{2}, {1}, {0}]), (2, [{2, 1}, {0}]), (5, [{0, 1, 2}])):
        with problem(net, xy, Full(), Point(), train=TrainConfig(layers_at_once=size)) as p:
            assert stages(p) == expected
            (weights,) = [stack for stack in p.stacks if stack.name == "W_5x5"]
            rows = [resting_rows(weights, stage) for stage in stages(p)]
            assert weights.rows["pooler"] not in frozenset().union(*rows)


def test_shares_differ_by_at_most_one_step(net, xy):
    with problem(net, xy, Direct(), Point(), train=TRAIN.replace(steps=8)) as p:
        found, _ = snapshots(p)
        order = [min(moved(b, a, p)) for b, a in pairwise(found)]
        assert order == ["blocks.2.0"] * 3 + ["blocks.1.0"] * 3 + ["blocks.0.0"] * 2


def test_a_run_taken_up_in_a_stage_goes_on_with_its_moments(net, xy):
    with problem(net, xy, Full(), Point(), train=TRAIN) as p:
        optimiser = make_optimiser(p)
        with in_turn(p, optimiser, 6) as begin:
            parameter = p.joint_guide.points.value["W_5x5"]
            optimiser.state[parameter]["step"] = torch.tensor(1.0)
            begin(3)  # in the middle of the second stage
            assert parameter in optimiser.state
            begin(4)  # the first step of the third
            assert parameter not in optimiser.state


def test_heads_are_trained_throughout(bert, sentences, tokenizer):
    train = TrainConfig(steps=4, batch_size=8, layers_at_once=1)
    posterior = bayespeft.fit(bert, sentences, "full", tokenizer=tokenizer, train=train, progress=False)
    again = bayespeft.fit(bert, sentences, "full_layerwise", tokenizer=tokenizer, train=train, progress=False)
    assert posterior.method.train.layers_at_once == again.method.train.layers_at_once == 1
    for name, layer in ((p.layer.name, p.layer) for p in posterior.placements):
        (weights,) = [stack for stack in posterior.joint_guide.stacks if stack.factor == "W" and name in stack.rows]
        value = posterior.joint_guide.mean()[weights.name][weights.rows[name]]
        assert not torch.equal(value, layer.weight()), name


def test_what_can_not_be_taken_in_turn_is_refused(net, xy, mlp):
    with (
        problem(net, xy, Full(), Point(), train=TRAIN.replace(steps=2)) as p,
        pytest.raises(ConfigError, match="3 stages, but there are 2 steps"),
    ):
        run(p)
    flat = nn.Sequential()
    flat.add_module("first", nn.Linear(5, 4))
    flat.add_module("second", nn.Linear(4, 3))
    with (
        problem(flat, xy, Full(), Point(), train=TRAIN) as p,
        pytest.raises(ConfigError, match=r"layers \(first, \.\.\.\) have no block's number"),
    ):
        run(p)
    with (
        problem(net, xy, Full(), Point(), train=TRAIN) as p,
        pytest.raises(ConfigError, match="its own optimiser, SGD"),
    ):
        run(p, make=lambda q: torch.optim.SGD(q.joint_guide.parameters(), lr=0.1))
    with pytest.raises(ConfigError, match="layers_at_once"):
        TrainConfig(layers_at_once=0)


def test_snapshots_of_swag_move_every_layer(mlp, xy):
    train = TrainConfig(epochs=2, batch_size=20, layers_at_once=1)
    posterior = bayespeft.fit(mlp, xy, "swag", adapter=Lora(r=2), targets="all-linear", train=train, progress=False)
    for name, std in posterior.joint_guide.latent.std().items():
        if not name.startswith("A"):
            assert (std.flatten(1) > 1e-6).any(dim=1).all(), name
