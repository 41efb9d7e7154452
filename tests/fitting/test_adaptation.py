"""A loop of one's own: the same numbers as `fit`, bit by bit, and every way to misuse it is an error."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import bayespeft
from bayespeft import Adaptation, TrainConfig
from bayespeft.errors import AttachError, CheckpointError, ConfigError, DataError, FitError
from bayespeft.methods.base import Method
from tests.fitting.own_loop import OPTIONS, TEN, batches, own_loop, same


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("melora", {}),
        ("mle", {"average": 0.0}),
        ("blob", {"accumulate": 2, "clip": 0.0}),
        ("blob_official", {"kl_schedule": "blob"}),
        ("bayes_lora", {"kl_warmup": 0.5, "average": 8.0, "lr_schedule": "linear"}),
        ("mc_dropout", {}),
    ],
)
def test_ten_steps_of_an_own_loop_are_those_of_fit(mlp, xy, method, settings):
    train = TEN.replace(**settings)
    fitted = bayespeft.fit(mlp, xy, method, train=train, progress=False, **OPTIONS)
    adaptation = bayespeft.adapt(mlp, xy, 60, method, train=train, **OPTIONS)
    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    with adaptation:
        own_loop(adaptation, batches(adaptation, xy, 10 * train.accumulate))
    assert torch.equal(torch.rand(2), expected), "the caller's random numbers are the caller's"
    posterior = adaptation.posterior()
    assert same(posterior, fitted)
    assert [r.kl for r in posterior.history.records] == [r.kl for r in fitted.history.records]
    assert [r.kl_weight for r in posterior.history.records] == [r.kl_weight for r in fitted.history.records]
    assert [r.epoch for r in posterior.history.records] == pytest.approx([r.epoch for r in fitted.history.records])
    assert torch.equal(posterior.predict(xy, draws=3).log_probs, fitted.predict(xy, draws=3).log_probs)


def test_dropout_and_modes_are_the_fits_whatever_the_loop_sets(xy):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.Dropout(0.3), nn.Tanh(), nn.Linear(12, 3)).eval()
    for dropout in (False, True):
        train = TEN.replace(dropout=dropout)
        fitted = bayespeft.fit(net, xy, train=train, progress=False, **OPTIONS)
        adaptation = bayespeft.adapt(net, xy, 60, train=train, **OPTIONS)
        with adaptation:
            optimiser = adaptation.optimizer()
            schedule = adaptation.schedule(optimiser)
            for batch in batches(adaptation, xy, 10):
                net.train(not dropout)
                adaptation.module.train()
                torch.rand(7)
                own_loop(adaptation, [batch], optimiser, schedule)
        assert not net.training
        assert same(adaptation.posterior(), fitted)


def test_the_network_is_as_it_was_outside_and_between(mlp, xy):
    before = copy.deepcopy(mlp.state_dict())
    adaptation = bayespeft.adapt(mlp, xy, 60, train=TEN, **OPTIONS)
    assert not any(module._forward_hooks for module in mlp.modules())
    with adaptation, adaptation:
        assert not any(p.requires_grad for p in mlp.parameters())
        own_loop(adaptation, batches(adaptation, xy, 2))
    assert all(p.requires_grad for p in mlp.parameters())
    assert not any(module._forward_hooks for module in mlp.modules())
    assert all(torch.equal(value, before[name]) for name, value in mlp.state_dict().items())
    first = adaptation.posterior()
    kept = copy.deepcopy(first.joint_guide.state_dict())
    adaptation.attach()
    own_loop(adaptation, batches(adaptation, xy, 2))
    adaptation.detach()
    assert adaptation.steps == 4
    assert all(torch.equal(value, kept[name]) for name, value in first.joint_guide.state_dict().items())
    assert not same(first, adaptation.posterior())


def test_a_run_that_is_taken_up_again_goes_on_bit_by_bit(mlp, xy, tmp_path):
    train = TEN.replace(average=4.0, kl_warmup=0.5)

    def made() -> tuple[Adaptation, Any, Any]:
        adaptation = bayespeft.adapt(mlp, xy, 60, "blob", train=train, **OPTIONS)
        optimiser = adaptation.optimizer()
        return adaptation, optimiser, adaptation.schedule(optimiser)

    whole, *rest = made()
    data = batches(whole, xy, 10)
    with whole:
        own_loop(whole, data, *rest)
    half, optimiser, schedule = made()
    with half:
        own_loop(half, data[:4], optimiser, schedule)
        torch.save([half.state_dict(), optimiser.state_dict(), schedule.state_dict()], tmp_path / "state.pt")
    again, optimiser, schedule = made()
    states = torch.load(tmp_path / "state.pt", weights_only=True)
    for part, state in zip((again, optimiser, schedule), states, strict=True):
        part.load_state_dict(state)
    with again:
        own_loop(again, data[4:], optimiser, schedule)
    assert again.steps == 10
    assert same(again.posterior(), whole.posterior())
    assert [r.loss for r in again.history.records] == [r.loss for r in whole.history.records]


def test_a_loss_without_gradients_leaves_no_trace(mlp, xy):
    found = []
    for looking in (False, True):
        adaptation = bayespeft.adapt(mlp, xy, 60, train=TEN, **OPTIONS)
        with adaptation:
            optimiser = adaptation.optimizer()
            schedule = adaptation.schedule(optimiser)
            for batch in batches(adaptation, xy, 4):
                if looking:
                    with torch.no_grad():
                        assert torch.equal(adaptation.loss(batch), adaptation.loss(batch))
                    adaptation.predict(xy, draws=2)
                own_loop(adaptation, [batch], optimiser, schedule)
        found.append(adaptation.posterior())
    assert same(*found)


def test_predictions_while_training_are_those_of_the_posterior(mlp, xy):
    adaptation = bayespeft.adapt(mlp, xy, 60, train=TEN.replace(average=8.0), **OPTIONS)
    with adaptation:
        own_loop(adaptation, batches(adaptation, xy, 5))
        found = adaptation.predict(xy, draws=3)
    assert torch.equal(found.log_probs, adaptation.posterior().predict(xy, draws=3).log_probs)


@pytest.mark.parametrize("draws", [3, 0])
def test_linearised_predictions_while_training_are_those_of_the_posterior(bert, tokenizer, sentences, draws):
    adaptation = bayespeft.adapt(bert, sentences, 24, "vbll", tokenizer=tokenizer, train=TEN, seed=3)
    with adaptation:
        own_loop(adaptation, [sentences[:8], sentences[8:16]])
        with torch.no_grad():
            found = adaptation.predict(sentences, draws=draws)
    posterior = adaptation.posterior()
    # The last block of a network that no loop watches runs at one position, in another order of additions.
    again = posterior.predict(sentences, draws=draws).log_probs
    torch.testing.assert_close(found.log_probs, again, atol=1e-6, rtol=0)
    sampled = posterior.predict(sentences, draws=3, prediction="sampled").log_probs
    assert not torch.allclose(found.log_probs, sampled, atol=1e-3)


def test_groups_say_what_they_hold_and_at_which_rates(bert, tokenizer, sentences):
    train = TrainConfig(steps=2, lr=1e-3, variational_lr=5e-3, head_lr=0.16)
    adaptation = bayespeft.adapt(bert, sentences, 24, tokenizer=tokenizer, train=train)
    rates = {group["name"]: group["lr"] for group in adaptation.parameters()}
    assert rates["factors"] == 1e-3
    assert rates["spread"] == 5e-3
    assert set(rates) == {"factors", "spread", "head"}
    grouped = {id(p) for group in adaptation.parameters() for p in group["params"]}
    assert grouped == {id(p) for p in adaptation.module.parameters()}


def test_batches_of_tokens_and_rows_give_the_same_loss(bert, tokenizer, sentences):
    train = TrainConfig(steps=2, batch_size=6)
    rows = sentences[:6]
    inputs = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    inputs["labels"] = torch.tensor([row["label"] for row in rows])
    found = []
    for batch in (rows, inputs, dict(inputs)):
        adaptation = bayespeft.adapt(bert, inputs, 24, "mle", tokenizer=tokenizer, train=train)
        with adaptation:
            found.append(float(adaptation.loss(batch).detach()))
    assert found[1] == found[2]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.filterwarnings("ignore:the data numbers its classes")
def test_rows_of_a_batch_mean_what_those_of_the_example_do(bert, tokenizer, sentences):
    """Columns, and which class a number is, are said once: a batch of rows no longer says it."""
    bert.config.id2label, bert.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    features = Features({"said": Value("string"), "gold": ClassLabel(names=["good", "bad"])})
    other = Dataset.from_list([{"said": r["text"], "gold": 1 - r["label"]} for r in sentences], features=features)
    columns = {"text": "said", "label": "gold"}
    found = []
    for data, options in ((sentences, {}), (other, {"columns": columns})):
        adaptation = bayespeft.adapt(bert, data, 24, "map", tokenizer=tokenizer, **options)
        with adaptation:
            found.append(float(adaptation.loss([data[i] for i in range(6)]).detach()))
            batch = adaptation.read([data[i] for i in range(6)])
            assert batch.labels.tolist() == [row["label"] for row in sentences[:6]]
            assert batch.index.tolist() == [*range(6)]
    assert found[0] == found[1]
    with adaptation, pytest.raises(DataError, match="align it first"):
        adaptation.loss({**tokenizer("the cat", return_tensors="pt"), "labels": torch.tensor([1])})


def test_an_open_length_has_the_warm_up_of_the_method_until_somebody_plans(mlp, xy):
    weights = {}
    for steps in (None, 4):
        adaptation = bayespeft.adapt(mlp, xy, 60, "melora", targets="all-linear")
        if steps:
            adaptation.plan(steps)
        with adaptation:
            own_loop(adaptation, batches(adaptation, xy, 4, seed=0))
        weights[steps] = adaptation._steps.weight
    # A KL warm-up over half of the steps; open runs take 400 for that.
    assert weights == {None: 5 / 200, 4: 1.0}


def test_mixed_precision_of_the_loop_reaches_the_network_alone(mlp, xy):
    seen = []
    mlp[0].register_forward_hook(lambda module, args, output: seen.append(torch.is_autocast_enabled("cpu")))
    adaptation = bayespeft.adapt(mlp, xy, 60, train=TEN, **OPTIONS)
    seen.clear()
    with adaptation, torch.autocast("cpu", dtype=torch.bfloat16):
        loss = adaptation.loss((xy[0][:8], xy[1][:8]))
    assert seen == [True]
    assert loss.dtype == torch.float32
    with adaptation:
        adaptation.loss((xy[0][:8], xy[1][:8]))
    assert seen[-1] is False


def test_misuse_is_told(mlp, xy):
    adaptation = bayespeft.adapt(mlp, xy, 60, train=TEN, **OPTIONS)
    batch = xy[0][:4], xy[1][:4]
    with pytest.raises(AttachError, match="with adaptation"):
        adaptation.loss(batch)
    with pytest.raises(AttachError, match="with adaptation"):
        adaptation.predict(xy)
    with pytest.raises(FitError, match="nothing was trained"):
        adaptation.posterior()
    with adaptation:
        adaptation.loss(batch).backward()
        with pytest.raises(FitError, match="no torch optimiser has stepped"):
            adaptation.posterior()
        with pytest.raises(AttachError, match="adaptation"):
            bayespeft.fit(mlp, xy, train=TEN, progress=False, **OPTIONS)
        with pytest.raises(DataError, match="labels"):
            adaptation.loss(xy[0][:4])
        with pytest.raises(DataError, match="labels"), torch.no_grad():
            adaptation.loss(xy[0][:4])
        with pytest.raises(DataError, match="label"):
            adaptation.loss((xy[0][:4], torch.tensor([0, 1, 2, 3])))
        with pytest.raises(DataError, match="dict of tensors"):
            adaptation.loss("x")
    with pytest.raises(ConfigError, match="float32"):
        adaptation.module.half()
    for wrong in ({"joint_guide": {}}, {"steps": 1}, {"noise": {"x": 1}}, {"noise": 3}):
        with pytest.raises(CheckpointError, match="state"):
            adaptation.load_state_dict({**adaptation.state_dict(), **wrong})
    for state in ({}, 3):
        with pytest.raises(CheckpointError, match="state"):
            adaptation.load_state_dict(state)


def test_what_is_trained_can_be_saved_and_loaded(mlp, xy, tmp_path):
    adaptation = bayespeft.adapt(mlp, xy, 60, train=TEN, **OPTIONS)
    loader = DataLoader(TensorDataset(*xy), batch_size=15)
    with adaptation:
        own_loop(adaptation, list(loader))
    posterior = adaptation.posterior()
    posterior.save(tmp_path / "posterior")
    again = bayespeft.load(tmp_path / "posterior", mlp)
    assert torch.equal(again.predict(xy).log_probs, posterior.predict(xy).log_probs)
    assert isinstance(posterior.method, Method)
    assert str(posterior.report(xy, draws=2, resamples=10))
