"""The official code of BLoB beside ours: a step of training and averaged draws, as its own scripts make them.

The code is that of Wang-ML-Lab/bayesian-peft, in a folder of its own, which `--official` names; nothing of it is kept here.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from paper_repro.efficiency.step import LABELS, PeftStep

# The settings of its scripts: `bayes_eps`, `bayes_beta`, `bayes_kllr`.
EPS, BETA, KL_RATE = 0.05, 0.2, 0.02


class OfficialStep(PeftStep):
    """A training step of official BLoB on the layers of a peft LoRA; arguments as `PeftStep`.

    Args:
        folder: with the official code.
        step: arguments and settings of `PeftStep`.
    """

    def __init__(self, folder: Path, *step: Any, **settings: Any) -> None:
        super().__init__(*step, **settings)
        code = _official(folder)
        # What it does to layers takes these settings alone, and not the rest of its wrapper.
        self._wrapper = SimpleNamespace(blobconfig=SimpleNamespace(bayes_eps=EPS, bayes_beta=BETA))
        for name in ("_modify_lora_layers", "_wrap_lora_layer", "div_posterior_prior"):
            setattr(self._wrapper, name, getattr(code, name).__get__(self._wrapper))
        self._wrapper._modify_lora_layers(self.model)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.adamw = torch.optim.AdamW(self.parameters, lr=1e-3)
        self.sgd = torch.optim.SGD(self.parameters, lr=KL_RATE)

    def __call__(self, as_run: bool = True) -> None:
        """Do one step as its `fit` does: a step on the NLL of one draw, all positions' logits, then one on the KL."""
        with torch.autocast(self.ids.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.logits(as_run)
        cross_entropy(logits.float(), self.labels).backward()
        self.adamw.step()
        self.adamw.zero_grad()
        self._wrapper.div_posterior_prior(self.model).backward()
        self.sgd.step()
        self.sgd.zero_grad()

    @torch.no_grad()
    def predict(self, draws: int) -> torch.Tensor:
        """Return the averaged probabilities of so many draws, one pass each with all positions' logits, on the CPU."""
        return torch.stack([self.logits(as_run=True).float().softmax(-1) for _ in range(draws)], 1).mean(1).cpu()

    def logits(self, as_run: bool = False) -> torch.Tensor:
        """Return (n, K) logits, as its scripts call the network."""
        if not self.causal:
            return super().logits(as_run)
        mask = torch.ones_like(self.ids)
        return self.model(input_ids=self.ids, attention_mask=mask).logits[:, -1, list(LABELS)]


def _official(folder: Path) -> Any:
    """Return the class of its BLoB."""
    if not (folder / "modelwrappers" / "blob.py").is_file():
        raise SystemExit(f"{folder} is not the code of Wang-ML-Lab/bayesian-peft.")
    sys.path.insert(0, str(folder))
    # It imports a debugger, which nothing that is run here calls.
    sys.modules.setdefault("ipdb", ModuleType("ipdb"))
    try:
        return importlib.import_module("modelwrappers.blob").BLoB
    finally:
        sys.path.remove(str(folder))
