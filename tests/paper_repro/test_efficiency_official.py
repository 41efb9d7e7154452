"""What is run of official code lies in a folder of its own, which must hold it."""

from __future__ import annotations

import sys

import pytest
import torch

from paper_repro.efficiency.official import OfficialStep

CODE = """
class BLoB:
    def _modify_lora_layers(self, module):
        self.layers = [m for m in module.modules() if type(m).__name__ == "Linear" and hasattr(m, "lora_A")]
        for layer in self.layers:
            self._wrap_lora_layer(layer)

    def _wrap_lora_layer(self, layer):
        layer.eps = self.blobconfig.bayes_eps

    def div_posterior_prior(self, module):
        return sum(layer.lora_A["default"].weight.square().sum() for layer in self.layers)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "modelwrappers").mkdir()
    (tmp_path / "modelwrappers" / "__init__.py").write_text("")
    (tmp_path / "modelwrappers" / "blob.py").write_text(CODE)
    yield tmp_path
    for name in ("modelwrappers", "modelwrappers.blob"):
        sys.modules.pop(name, None)


def test_a_step_moves_all_factors_and_draws_are_averaged(folder, bert):
    ids, labels = torch.tensor([[1, 2, 3], [3, 2, 1]]), torch.tensor([0, 1])
    before = list(sys.path)
    step = OfficialStep(folder, bert, ids, labels, ["query", "value"], causal=False, bf16=False)
    assert sys.path == before
    factors = [p for name, p in step.model.named_parameters() if "lora_A" in name]
    start = [p.detach().clone() for p in factors]
    step()
    assert len(factors) > 0
    assert not any(torch.equal(p, was) for p, was in zip(factors, start, strict=True))
    probs = step.predict(3)
    assert probs.shape[0] == 2
    torch.testing.assert_close(probs.sum(-1), torch.ones(2))


def test_another_folder_is_refused(tmp_path, bert):
    with pytest.raises(SystemExit, match="bayesian-peft"):
        OfficialStep(tmp_path, bert, torch.tensor([[1]]), torch.tensor([0]), ["query"], causal=False, bf16=False)
