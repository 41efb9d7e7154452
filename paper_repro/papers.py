"""All papers by name, and the claims of those that have no folder of their own."""

from __future__ import annotations

from paper_repro import blob, intrinsic_dimension, laplace_lora, melora, rosa_sparse, rosa_subspace, scalabl_tfb
from paper_repro.paper import Claim, Paper, as_accurate, better_calibrated

PAPERS: dict[str, Paper] = {
    module.PAPER.name: module.PAPER
    for module in (melora, blob, laplace_lora, scalabl_tfb, rosa_subspace, rosa_sparse, intrinsic_dimension)
}
OTHERS = (
    Claim("SWAG-LoRA, 2405.03425", "snapshots calibrate", "swag", "mle", better_calibrated),
    Claim("IVON-LoRA, 2411.04421", "the optimiser's own spread calibrates", "ivon", "mle", better_calibrated),
    Claim("Ensembles, 1612.01474", "five LoRAs are better calibrated than one", "ensemble", "mle", better_calibrated),
    Claim(
        "B-LoRA-XS, 2502.12122", "r x r numbers a layer are as accurate as LoRA", "lora_xs_bayes", "mle", as_accurate
    ),
)
CLAIMS = (*(claim for paper in PAPERS.values() for claim in paper.claims), *OTHERS)
