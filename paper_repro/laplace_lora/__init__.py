"""Laplace-LoRA: a Kronecker Laplace approximation around a trained LoRA."""

from bayespeft import TrainConfig, registry
from paper_repro.paper import Claim, Experiment, Paper, better_calibrated, questions

SOURCE = "Laplace-LoRA, 2308.13111"

PAPER = Paper(
    name="laplace_lora",
    title="Laplace-LoRA",
    source="Yang et al. 2023, Bayesian low-rank adaptation for large language models, arXiv 2308.13111",
    idea="Train a LoRA as usual, then put a Laplace approximation around all of its numbers and predict with the network "
    "linearised.",
    claims=(
        Claim(SOURCE, "Laplace around MAP calibrates it", "laplace_lora", "map", better_calibrated),
        Claim(SOURCE, "all layers beat the last", "laplace_lora", "laplace_last_layer", better_calibrated),
    ),
    experiments=(
        Experiment(
            "posteriors", "paper_repro.posteriors.run", "all layers, Kronecker or diagonal, against the last layer and MAP",
            methods=("map", "laplace_lora", "laplace_lora_diagonal", "laplace_last_layer"), tasks=("sst2", "mrpc"),
            section="posteriors",
        ),
        questions("mle", "laplace_lora"),
    ),
    methods=("laplace_lora", "laplace_lora_diagonal", "laplace_last_layer", "laplace_core"),
    full=registry.get("methods", "laplace_lora").replace(train=TrainConfig(steps=5000, batch_size=4, lr=5e-5)),
    full_from="rank 8, alpha 16 on query and value projections; the number of steps and the rate are BLoB's comparison's, not "
    "checked against the paper",
    differs=(
        "MiniLM and 500 rows in the place of LLaMA-2-7B and six tasks of multiple choice",
        "the exact Gauss-Newton root of each example in the place of K-FAC over tokens",
        "the point has a normal prior, and held-out rows choose its number of steps",
    ),
    figures=("posteriors.png",),
)  # fmt: skip
