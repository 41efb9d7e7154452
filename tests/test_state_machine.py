"""Any order of fits, predictions, files and merges leaves the network as it was, and posteriors that predict as before.

`make fuzz` looks at many more orders than the suite.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import BayesPeftError
from bayespeft.testing import networks

METHODS = (
    "melora",
    "blob",
    "mle",
    "map",
    "swag",
    "ensemble",
    "laplace_lora",
    "tfb",
    "mc_dropout",
    "bayes_rosa",
    "rank_one",
)
FIT: dict[str, Any] = {
    "targets": "all-linear", "train": TrainConfig(steps=2, batch_size=20), "progress": False
}  # fmt: skip
numbers = st.integers(0, 9)


class Uses(RuleBasedStateMachine):
    """One network; posteriors on it, each with what it predicted before."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.data = networks.mlp(), networks.xy()
        self.folder = Path(tempfile.mkdtemp())
        self.known: list[tuple[bayespeft.Posterior, dict[Any, torch.Tensor]]] = []
        self.files = 0
        self.weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.random = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _keep(self, posterior: bayespeft.Posterior) -> None:
        self.known = [*self.known[-5:], (posterior, {})]

    def _path(self) -> Path:
        self.files += 1
        return self.folder / str(self.files)

    @rule(method=st.sampled_from(METHODS), seed=st.integers(0, 2))
    def fit(self, method: str, seed: int) -> None:
        self._keep(bayespeft.fit(self.network, self.data, method, seed=seed, **FIT))

    @rule()
    def a_fit_that_fails(self) -> None:
        x, y = self.data
        with pytest.raises(BayesPeftError):
            bayespeft.fit(self.network, (x, torch.full_like(y, -7)), "melora", **FIT)
        train = TrainConfig(steps=9, batch_size=20, lr=1e30, clip=0.0)
        with pytest.raises(BayesPeftError):
            bayespeft.fit(self.network, self.data, "melora", **{**FIT, "train": train})

    @precondition(lambda self: self.known)
    @rule(which=numbers, method=st.sampled_from(METHODS))
    def fit_on(self, which: int, method: str) -> None:
        start = self.known[which % len(self.known)][0]
        with suppress(BayesPeftError):  # not every method builds on every other
            self._keep(bayespeft.fit(self.network, self.data, method, start=start, train=FIT["train"], progress=False))

    @precondition(lambda self: self.known)
    @rule(
        which=numbers,
        draws=st.sampled_from([1, 2, 5]),
        seed=st.integers(0, 1),
        sampling=st.sampled_from(["plain", "antithetic", "sobol"]),
        batch=st.sampled_from([7, 32]),
    )
    def predict(self, which: int, draws: int, seed: int, sampling: Any, batch: int) -> None:
        posterior, before = self.known[which % len(self.known)]
        probs = posterior.predict(self.data, draws, seed, sampling=sampling, batch_size=batch).probs
        assert torch.allclose(probs.sum(-1), torch.ones(60, dtype=probs.dtype))
        wanted = before.setdefault((draws, seed, sampling), probs)
        assert torch.allclose(probs, wanted, atol=2e-5)

    @precondition(lambda self: self.known)
    @rule(which=numbers)
    def save_and_load(self, which: int) -> None:
        posterior, path = self.known[which % len(self.known)][0], self._path()
        posterior.save(path)
        posterior.save(path)
        loaded = bayespeft.load(path, self.network)
        assert torch.equal(loaded.predict(self.data, 2).probs, posterior.predict(self.data, 2).probs)
        self._keep(loaded)

    @precondition(lambda self: self.known)
    @rule(which=numbers, draw=st.sampled_from([0, 1]), fails=st.booleans())
    def use(self, which: int, draw: int, fails: bool) -> None:
        posterior = self.known[which % len(self.known)][0]
        try:
            with posterior.using(draw) as network:
                with torch.no_grad():
                    bound = network(self.data[0])
                with pytest.raises(BayesPeftError):
                    bayespeft.fit(self.network, self.data, "mle", **FIT)
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        with torch.no_grad():
            merged = posterior.merged_model(draw)(self.data[0])
        assert torch.allclose(bound, merged, atol=1e-4, rtol=1e-3)

    @precondition(lambda self: self.known)
    @rule(which=numbers)
    def export_and_import(self, which: int) -> None:
        posterior, path = self.known[which % len(self.known)][0], self._path()
        try:
            posterior.export_peft(path)
        except BayesPeftError:
            return  # not every change is a LoRA
        imported = bayespeft.import_lora(path, self.network, classes=3)
        assert torch.allclose(
            imported.predict(self.data, 0).probs, posterior.predict(self.data, 0).probs, atol=1e-5
        ) or (posterior.temperature != 1)

    @precondition(lambda self: len(self.known) > 1)
    @rule(first=numbers, second=numbers)
    def threads(self, first: int, second: int) -> None:
        chosen = [self.known[which % len(self.known)][0] for which in (first, second)]
        wanted = [posterior.predict(self.data, 2).probs for posterior in chosen]
        found: dict[int, torch.Tensor] = {}

        def work(at: int) -> None:
            found[at] = chosen[at].predict(self.data, 2).probs

        running = [threading.Thread(target=work, args=(at,)) for at in range(2)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert all(torch.equal(found[at], wanted[at]) for at in range(2))

    @invariant()
    def the_network_is_as_it_was(self) -> None:
        found = self.network.state_dict()
        assert found.keys() == self.weights.keys()
        assert all(torch.equal(found[name], value) for name, value in self.weights.items())
        for module in self.network.modules():
            assert not module._forward_hooks
            assert not module._forward_pre_hooks
            assert not module.training
        assert all(p.requires_grad and p.grad is None for p in self.network.parameters())

    @invariant()
    def nothing_global_has_moved(self) -> None:
        assert torch.equal(torch.get_rng_state(), self.random[0])
        assert random.getstate() == self.random[1]
        assert (np.random.get_state()[1] == self.random[2]).all()  # type: ignore[index]
        assert torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float32


TestUses = Uses.TestCase
TestUses.settings = settings(
    settings(),
    max_examples=max(3, settings().max_examples // 10),
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
