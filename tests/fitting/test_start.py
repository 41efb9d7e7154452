"""`fit(start=...)`: another method takes over where a fit, or an imported LoRA, ended."""

from __future__ import annotations

import copy

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.lora import Lora
from bayespeft.errors import ConfigError
from bayespeft.guides.ensemble import Ensemble
from bayespeft.guides.ivon import Ivon
from bayespeft.guides.swag import Swag

TRAIN = TrainConfig(steps=60, lr=1e-2)
STILL = TrainConfig(steps=1, lr=0, variational_lr=0)
METHODS = {
    "swag": bayespeft.methods()["swag"].replace(guide=Swag(epochs=1, every=0.5)),
    "tfb": bayespeft.methods()["tfb"],
    "ensemble": bayespeft.methods()["ensemble"].replace(guide=Ensemble(members=2)),
    "ivon": bayespeft.methods()["ivon"].replace(guide=Ivon(verify=False)),
    "blob": bayespeft.methods()["blob"],
    "map": bayespeft.methods()["map"],
}


@pytest.fixture
def mle(mlp, xy):
    return bayespeft.fit(mlp, xy, "mle", adapter=Lora(r=2, alpha=5), targets=["0", "2"], train=TRAIN, progress=False)


@pytest.mark.parametrize("name", METHODS)
def test_layers_ranks_and_scales_are_taken_over(mle, mlp, xy, name):
    posterior = bayespeft.fit(mlp, xy, METHODS[name], start=mle, train=TrainConfig(steps=2), progress=False)
    assert [p.layer.name for p in posterior.placements] == ["0", "2"]
    assert {(p.adapter.r, p.adapter.alpha) for p in posterior.placements} == {(2, 5)}
    assert posterior.predict(xy, draws=2).probs.shape == (60, 3)


@pytest.mark.parametrize("name", ["map", "blob", "ivon"])
def test_means_start_at_the_values_of_the_start(mle, mlp, xy, name):
    posterior = bayespeft.fit(mlp, xy, METHODS[name], start=mle, train=STILL, progress=False)
    found, before = posterior.joint_guide.mean(), mle.joint_guide.mean()
    assert found.keys() == before.keys()
    for key, value in before.items():
        torch.testing.assert_close(found[key], value)


def test_the_first_member_of_an_ensemble_is_the_start(mle, mlp, xy):
    posterior = bayespeft.fit(mlp, xy, METHODS["ensemble"], start=mle, train=TRAIN, progress=False)
    assert posterior.history.steps == 60
    for key, value in mle.joint_guide.mean().items():
        first, second = posterior.joint_guide.latent.value[key]
        assert torch.equal(first, value)
        assert not torch.equal(second, value)


def test_tfb_trains_nothing_and_leaves_the_start_alone(mle, mlp, xy):
    before = copy.deepcopy(mle.joint_guide.state_dict())
    posterior = bayespeft.fit(mlp, xy, METHODS["tfb"], start=mle, progress=False)
    assert posterior.history.steps == 0
    assert posterior.history.seconds > 0
    after = mle.joint_guide.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    torch.testing.assert_close(posterior.predict(xy, draws=0).log_probs, mle.predict(xy).log_probs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["tfb", "ensemble", "swag"])
def test_it_can_be_saved_and_loaded(mle, mlp, xy, name, tmp_path):
    posterior = bayespeft.fit(mlp, xy, METHODS[name], start=mle, train=TrainConfig(steps=3), progress=False)
    posterior.save(tmp_path / "out")
    loaded = bayespeft.load(tmp_path / "out", mlp)
    assert torch.equal(loaded.predict(xy, draws=2).log_probs, posterior.predict(xy, draws=2).log_probs)


def test_a_posterior_of_its_own_kind_can_go_on(mlp, xy):
    first = bayespeft.fit(mlp, xy, "melora", targets="all-linear", train=TRAIN, progress=False)
    again = bayespeft.fit(mlp, xy, "melora_full", start=first, train=STILL, progress=False)
    for key, value in first.joint_guide.mean().items():
        torch.testing.assert_close(again.joint_guide.mean()[key], value)


def test_another_kind_of_adapter_is_refused(mle, mlp, xy):
    with pytest.raises(
        ConfigError, match="start= has the adapter 'lora' at layer '0', method 'lora_xs_bayes' needs 'frozen_core'"
    ):
        bayespeft.fit(mlp, xy, "lora_xs_bayes", start=mle, progress=False)


@pytest.mark.parametrize("name", ["melora", "melora_full"])
def test_a_core_is_set_into_the_frame_of_a_lora(mle, mlp, xy, name, tmp_path):
    posterior = bayespeft.fit(mlp, xy, name, start=mle, train=STILL, progress=False)
    expected = mle.predict(xy).log_probs
    torch.testing.assert_close(posterior.predict(xy, draws=0).log_probs, expected, atol=1e-5, rtol=0)
    assert {(p.adapter.kind, p.adapter.r, p.adapter.alpha) for p in posterior.placements} == {("core", 2, 5)}
    stacks = posterior.joint_guide.stacks
    means = {
        (layer, stack.factor): posterior.joint_guide.mean()[stack.name][row]
        for stack in stacks
        for layer, row in stack.rows.items()
    }
    for layer in ("0", "2"):
        a, b, core = (means[layer, factor] for factor in "ABC")
        torch.testing.assert_close(core, torch.eye(2))
        # B^T B = A A^T = S / s: singular vectors, which a turn of the LoRA's channels does not change.
        change = posterior.placements[0].adapter.delta({"A": a, "B": b, "C": core}, posterior.placements[0].layer)
        values = torch.linalg.svdvals(change)[:2] / 2.5
        torch.testing.assert_close(a @ a.T, values.diag(), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(b.T @ b, values.diag(), atol=1e-5, rtol=1e-4)
    trained = bayespeft.fit(mlp, xy, name, start=mle, train=TrainConfig(steps=20, lr=1e-2), progress=False)
    assert not torch.allclose(trained.predict(xy, draws=0).log_probs, expected, atol=1e-3)
    trained.save(tmp_path / "core")
    again = bayespeft.load(tmp_path / "core", mlp)
    assert torch.equal(again.predict(xy, draws=2).log_probs, trained.predict(xy, draws=2).log_probs)


def test_a_lora_that_has_learned_nothing_is_no_dead_start(mlp, xy):
    blank = bayespeft.fit(mlp, xy, "mle", adapter=Lora(r=2), targets=["0"], train=STILL, progress=False)
    posterior = bayespeft.fit(mlp, xy, "melora", start=blank, train=TrainConfig(steps=30, lr=1e-2), progress=False)
    assert not torch.allclose(posterior.predict(xy, draws=0).log_probs, blank.predict(xy).log_probs, atol=1e-3)


def test_another_network_is_refused(mle, mlp, xy):
    with pytest.raises(ConfigError, match="start= was fitted on another network"):
        bayespeft.fit(copy.deepcopy(mlp), xy, "tfb", start=mle, progress=False)


@pytest.mark.parametrize("name", ["tfb", "swag", "ensemble"])
def test_an_imported_lora_serves_as_well(name, bert, tokenizer, sentences, tmp_path):
    fitted = bayespeft.fit(bert, sentences, "mle", tokenizer=tokenizer, train=TRAIN, progress=False)
    fitted.export_peft(tmp_path / "lora")
    imported = bayespeft.import_lora(tmp_path / "lora", bert, tokenizer=tokenizer)
    options = {"tokenizer": tokenizer, "train": TrainConfig(steps=3), "progress": False}
    posterior = bayespeft.fit(bert, sentences, METHODS[name], start=imported, **options)
    found = posterior.predict(sentences, draws=1 if name == "ensemble" else 0)
    if name != "swag":  # whose mean is that of the snapshots
        torch.testing.assert_close(found.log_probs, fitted.predict(sentences).log_probs, atol=1e-4, rtol=0)
    assert {p.layer.name for p in posterior.placements} == {p.layer.name for p in fitted.placements}
    assert posterior.heads == {"classifier"}


def test_a_start_must_be_a_posterior(mlp, xy):
    with pytest.raises(ConfigError, match="must be a posterior"):
        bayespeft.fit(mlp, xy, "tfb", start="runs/fitted", progress=False)


def test_an_adapter_that_contradicts_the_start_is_refused_and_the_methods_own_gives_way(mlp, xy):
    options = {"targets": ["2"], "train": TrainConfig(steps=2), "progress": False}
    start = bayespeft.fit(mlp, xy, "map", adapter=Lora(r=3, alpha=6), **options)
    options.pop("targets")
    with pytest.raises(ConfigError, match=r"r=2, but start= brings 3 at layer '2'"):
        bayespeft.fit(mlp, xy, "laplace_lora", adapter=Lora(r=2), start=start, **options)
    found = bayespeft.fit(mlp, xy, "laplace_lora", start=start, **options)
    assert (found.method.adapter.r, found.method.adapter.alpha) == (3, 6)


def test_another_seed_would_not_move_an_ensemble(mlp, xy):
    train = TrainConfig(steps=2)
    found = bayespeft.fit(mlp, xy, "ensemble", adapter=Lora(r=2), targets=["2"], train=train, progress=False)
    assert found.predict(xy, draws=5).nll_error is None
