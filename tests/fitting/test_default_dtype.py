"""The user's default dtype is the user's: a fit, its predictions and what is saved of it don't depend on it."""

from __future__ import annotations

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig


@pytest.fixture
def doubles():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def outcome(model, data, method, folder):
    train = TrainConfig(steps=4, batch_size=20)
    posterior = bayespeft.fit(model, data, method, targets="all-linear", train=train, progress=False)
    posterior.save(folder)
    found = [posterior.predict(data, draws=3, sampling=sampling).log_probs for sampling in ("plain", "sobol")]
    if method == "melora":
        found.append(posterior.predict(data, prediction="linearised").log_probs)
    return found, (folder / "posterior.safetensors").read_bytes(), posterior.report(data, resamples=5).nll


@pytest.mark.parametrize(
    "method",
    ["melora", "mle", "map", "laplace_lora", "swag", "tfb", "ensemble", "mc_dropout", "blob", "vera", "bayes_rosa"],
)
def test_a_fit_is_the_same_under_any_default_dtype(mlp, xy, method, tmp_path, request):
    wanted, content, nll = outcome(mlp, xy, method, tmp_path / "single")
    request.getfixturevalue("doubles")
    found, other, other_nll = outcome(mlp, xy, method, tmp_path / "double")
    assert content == other
    for one, two in zip(wanted, found, strict=True):
        assert one.dtype == two.dtype
        assert torch.equal(one, two)
    assert nll == other_nll
    assert torch.get_default_dtype() == torch.float64
    loaded = bayespeft.load(tmp_path / "single", mlp)
    assert torch.equal(loaded.predict(xy, draws=3).log_probs, wanted[0])
