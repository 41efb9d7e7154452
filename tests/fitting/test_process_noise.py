"""Two processes train one posterior: each its own noise, the KL once, the same parameters, predictions shared out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing import spawn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.fitting.adaptation import Adaptation
from bayespeft.utils.randomness import Stream
from tests.fitting.processes import STEPS, parts, problem, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    spawn(run, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def one(method: str) -> tuple[Adaptation, list[torch.Tensor]]:
    """One process takes the batches of both, one after the other, each with the noise of the process that has it."""
    adaptation, data, _ = problem(method)
    noise = [Stream(3 + 1_000_003 * rank, torch.device("cpu")) for rank in range(2)]
    optimizer = adaptation.optimizer()
    gradients: list[torch.Tensor] = []
    with adaptation:
        for step in range(STEPS):
            for rank, batch in enumerate(parts(data, step)):
                adaptation._noise._stream = noise[rank]
                (adaptation.loss(batch) / 2).backward()
            if not step:
                gradients = [parameter.grad.clone() for parameter in adaptation.module.parameters()]
            optimizer.step()
            optimizer.zero_grad()
    return adaptation, gradients


@pytest.mark.parametrize("method", ["blob", "map"])
def test_the_mean_gradient_of_two_is_that_of_one_at_equal_noise(two, method):
    _, expected = one(method)
    for mine, yours, wanted in zip(two[0][method]["gradients"], two[1][method]["gradients"], expected, strict=True):
        assert torch.equal(mine, yours)
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["blob", "map"])
def test_two_processes_end_where_one_does(two, method):
    adaptation, _ = one(method)
    expected = adaptation.posterior().joint_guide.state_dict()
    for name, value in two[0][method]["values"].items():
        assert torch.equal(value, two[1][method]["values"][name])
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    assert two[0][method]["terms"] == two[1][method]["terms"]
    if method == "map":
        # Without noise the two halves have one NLL between them.
        assert two[0][method]["terms"]["nll"] == pytest.approx(adaptation.terms()["nll"], rel=1e-5)


def test_processes_have_noise_of_their_own():
    """At equal batches the two gradients differ, and only by noise: those of a point are equal."""
    for method, same in (("blob", False), ("map", True)):
        found = []
        for rank in range(2):
            adaptation, data, _ = problem(method)
            adaptation._noise._stream = Stream(3 + 1_000_003 * rank, torch.device("cpu"))
            with adaptation:
                adaptation.loss(parts(data, 0)[0]).backward()
            found.append(torch.cat([p.grad.flatten() for p in adaptation.module.parameters()]))
        assert torch.equal(*found) is same


def test_a_shared_prediction_is_that_of_one_process(two):
    for result in two:
        for method in ("blob", "map"):
            assert torch.equal(result[method]["probs"], result[method]["alone"])
            # Draws that are folded into other passes differ in rounding.
            torch.testing.assert_close(result[method]["by_draws"], result[method]["five"], rtol=1e-6, atol=0)
            assert torch.equal(result[method]["by_draws"], two[0][method]["by_draws"])


def test_fit_says_that_it_trains_in_one_process(two, mlp, xy, recwarn):
    for rank, result in enumerate(two):
        assert f"process {rank} of 2" in result["fitting"]
        assert "bayespeft.adapt" in result["fitting"]
    bayespeft.fit(mlp, xy, "map", targets="all-linear", train=TrainConfig(steps=1), progress=False)
    assert not [one for one in recwarn if "of its own" in str(one.message)]


def test_in_one_process_work_is_done_as_it_comes(mlp, xy):
    adaptation, data, _ = problem("map")
    optimizer = adaptation.optimizer()
    with adaptation:
        adaptation.loss(data).backward()
        optimizer.step()
    posterior = adaptation.posterior()
    for how in (True, "draws"):
        assert torch.equal(posterior.predict(data, shared=how).probs, posterior.predict(data).probs)


@pytest.mark.parametrize(
    ("when", "method"), [("", "blob"), ("", "map"), ("first ", "blob"), ("first ", "map"), ("first ", "dora")]
)
def test_a_base_that_is_sharded_ends_where_a_whole_one_does(two, folder, when, method):
    """FSDP2 over the frozen base, before or after it has its adapters, which each process has whole; DoRA reads the weights."""
    for rank, result in enumerate(two):
        whole, sharded = result[method], result[f"sharded {when}{method}"]
        for found, wanted in zip(sharded["gradients"], whole["gradients"], strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
        for name, value in sharded["values"].items():
            torch.testing.assert_close(value, whole["values"][name], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(sharded["alone"], whole["alone"], rtol=1e-5, atol=1e-7)
        assert "shared=True gives each process passes of its own, and the network is sharded" in sharded["refused"]
        # What was fitted on shards is read onto the whole network.
        _, data, model = problem(method)
        probs = bayespeft.load(folder / f"{when}{method}{rank}", model).predict(data, draws=4, batch_size=7).probs
        torch.testing.assert_close(probs, whole["alone"], rtol=1e-5, atol=1e-7)


def test_label_tokens_of_a_sharded_base_are_those_of_a_whole_one(two):
    for result in two:
        for name, value in result["sharded answers"].items():
            torch.testing.assert_close(value, result["answers"][name], rtol=1e-4, atol=1e-6)
