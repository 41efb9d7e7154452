"""What harm is done to: a small posterior on disk, a training state, a LoRA, and the probabilities that they give."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

import bayespeft
from bayespeft import TrainConfig
from bayespeft.io import checkpoint
from bayespeft.testing import networks
from bayespeft.utils.files import digest

ONE_FIT: dict[str, Any] = {"targets": "all-linear", "train": TrainConfig(steps=8, batch_size=20), "progress": False}


class Subject:
    """A network, data, and three folders of what was fitted to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network, self.data = networks.mlp(), networks.xy()
        posterior = bayespeft.fit(self.network, self.data, "melora", **ONE_FIT)
        posterior.save(self.posterior)
        self.expected = probs(posterior, self.data)
        point = bayespeft.fit(self.network, self.data, "mle", **ONE_FIT)
        point.export_peft(self.lora)
        self.expected_lora = self.imported(self.lora)
        self.expected_state = self.resumed(self.state)

    @property
    def posterior(self) -> Path:
        """Where the posterior is."""
        return self.folder / "posterior"

    @property
    def lora(self) -> Path:
        """Where the LoRA is."""
        return self.folder / "lora"

    @property
    def state(self) -> Path:
        """Where the state of a finished training is."""
        return self.folder / "state"

    def loaded(self, folder: Path) -> Tensor:
        """Return the probabilities of a posterior on disk."""
        return probs(bayespeft.load(folder, self.network), self.data)

    def imported(self, folder: Path) -> Tensor:
        """Return the probabilities of a LoRA on disk."""
        return bayespeft.import_lora(folder, self.network, classes=3).predict(self.data, draws=0).probs

    def resumed(self, folder: Path) -> Tensor:
        """Return the probabilities of a fit that goes on from the state in a folder."""
        return probs(bayespeft.fit(self.network, self.data, "melora", checkpoint=folder, **ONE_FIT), self.data)

    def copy(self, source: Path) -> Path:
        """Return a fresh copy of a folder."""
        target = self.folder / "copy"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        return target


def probs(posterior: bayespeft.Posterior, data: Any) -> Tensor:
    """Return averaged probabilities of some draws (n, K)."""
    return posterior.predict(data, draws=2).probs


def sealed(folder: Path, settings: dict[str, Any], tensors: bytes | None = None) -> None:
    """Write settings and tensors over those of a posterior with digests that fit, as one who wants to deceive does."""
    name = settings["tensors"]["file"]
    if tensors is not None:
        (folder / name).write_bytes(tensors)
    settings = {**settings, "tensors": {"file": name, "sha256": digest((folder / name).read_bytes())}}
    settings.pop("sha256", None)
    text = json.dumps({**settings, "sha256": digest(json.dumps(settings, sort_keys=True).encode())})
    (folder / checkpoint.SETTINGS).write_text(text)
