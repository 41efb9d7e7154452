"""A posterior whose network was changed under it says so; one that was written and is the same again does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import AttachError
from bayespeft.layers import versions as module
from bayespeft.layers.fingerprint import fingerprint
from bayespeft.layers.versions import changed, versions


def fit(network: Any, xy: Any, guide: str = "melora", **options: Any) -> bayespeft.Posterior:
    train = TrainConfig(steps=3)
    return bayespeft.fit(network, xy, guide, targets="all-linear", train=train, progress=False, **options)


def test_a_network_that_was_trained_further_is_refused(mlp, xy):
    posterior, begun = fit(mlp, xy), copy.deepcopy(mlp.state_dict())
    before = posterior.predict(xy).probs
    optimiser = torch.optim.AdamW(mlp.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(mlp(xy[0]), xy[1]).backward()
    optimiser.step()
    for use in (lambda: posterior.predict(xy), lambda: posterior.report(xy), posterior.merged_model):
        with pytest.raises(AttachError, match=r"'0\.weight' has other values than when this posterior was fitted"):
            use()
    with pytest.raises(AttachError, match="has other values"), posterior.with_temperature(xy).using(0):
        pass
    mlp.load_state_dict(begun)
    assert torch.equal(posterior.predict(xy).probs, before)
    assert torch.equal(copy.deepcopy(posterior).predict(xy).probs, before)


def test_another_tensor_in_the_place_of_a_weight_is_seen(mlp, xy):
    """Assignments to `.data` count no write."""
    posterior, begun = fit(mlp, xy), mlp[0].weight.data
    before = posterior.predict(xy).probs
    mlp[0].weight.data = begun + 1
    with pytest.raises(AttachError, match=r"'0\.weight' has other values"):
        posterior.predict(xy)
    mlp[0].weight.data = begun.clone()
    assert torch.equal(posterior.predict(xy).probs, before)


def test_a_fit_that_starts_there_and_one_that_is_loaded_are_asked_alike(mlp, xy, tmp_path):
    posterior = fit(mlp, xy)
    posterior.save(tmp_path / "posterior")
    loaded = bayespeft.load(tmp_path / "posterior", copy.deepcopy(mlp))
    with torch.no_grad():
        loaded.model[2].bias += 1
    with pytest.raises(AttachError, match=r"'2\.bias' has other values"):
        loaded.predict(xy)
    on = fit(mlp, xy, start=posterior)
    with torch.no_grad():
        mlp[4].weight += 1
    for one in (posterior, on):
        with pytest.raises(AttachError, match=r"'4\.weight' has other values"):
            one.predict(xy)


def test_weights_that_are_merged_into_may_differ_and_no_others(bert, sentences, tokenizer):
    posterior = bayespeft.fit(
        bert, sentences, "rosa_subspace", tokenizer=tokenizer, train=TrainConfig(steps=3), progress=False
    )
    assert posterior.predict(sentences, draws=0).probs.isfinite().all()
    with torch.no_grad():
        bert.bert.embeddings.word_embeddings.weight += 1
    with pytest.raises(AttachError, match=r"word_embeddings\.weight' has other values"):
        posterior.predict(sentences, draws=0)


def test_only_what_was_written_is_hashed(mlp, monkeypatch):
    seen, known, asked = versions(mlp), fingerprint(mlp), []
    own = module.differs
    monkeypatch.setattr(module, "differs", lambda *given: asked.append(given) or own(*given))
    assert changed(mlp, seen, known) is None
    assert not asked
    mlp.load_state_dict(mlp.state_dict())
    assert changed(mlp, seen, known) is None
    assert len(asked) == 6
    assert changed(mlp, seen, known) is None  # it is the same network, and was found to be
    assert len(asked) == 6
    mlp[0].weight.data = mlp[0].weight.data.double()
    with torch.no_grad():
        mlp[0].weight.mul_(1)
    assert changed(mlp, seen, known) is None  # more precise, and the same when rounded
    with torch.no_grad():
        mlp[0].weight.mul_(2)
    assert changed(mlp, seen, known) == "0.weight"
    assert changed(mlp, seen, known, {"0.weight"}) is None


def test_tensors_that_count_nothing_are_left_out(mlp):
    with torch.inference_mode():
        other = torch.nn.Linear(2, 2)
    assert set(versions(torch.nn.Sequential(mlp[0], other))) == {"0.weight", "0.bias"}
