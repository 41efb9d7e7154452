"""RoSA: a sparse and a low-rank change side by side."""

from bayespeft import TrainConfig, registry
from paper_repro.paper import Claim, Experiment, Paper, more_accurate

SOURCE = "RoSA, 2401.04679"

PAPER = Paper(
    name="rosa_sparse",
    title="RoSA (sparse and low rank)",
    source="Nikdan et al. 2024, RoSA: Accurate Parameter-Efficient Fine-Tuning via Robust Adaptation, arXiv 2401.04679",
    idea="W0 + S + s B A: as in robust PCA, few large elements beside a low rank; where S may differ from 0 is read off "
    "gradients.",
    claims=(
        Claim(SOURCE, "sparse and low rank together beat LoRA", "rosa_sparse", "mle", more_accurate, "subspace_glue",
              stated="LLaMA-2-7B, 41M numbers, accuracy on GSM8k, ViGGO, SQL: 31.2, 95.0, 88.3 against LoRA's 28.4, 90.5, "
              "88.7"),
        Claim(SOURCE, "the two beat sparse alone", "rosa_sparse", "sparse_only", more_accurate, "subspace_glue",
              stated="against 26.2, 72.6, 83.2 of sparse alone"),
    ),
    experiments=(
        Experiment(
            "subspace_glue", "paper_repro.subspace.glue", "small tasks of GLUE against LoRA, sparse alone and full training, "
            "at one budget", methods=("mle", "rosa_sparse", "sparse_only", "full"), tasks=("sst2", "mrpc", "cola", "rte"),
            trial="--rank 4 --here", section="subspace",
        ),
        Experiment(
            "rosa_mask", "paper_repro.sparse.mask", "which rule for the mask: the paper's, the code's, a random one",
            trial=None, section="sparse mask",
        ),
        Experiment(
            "generation", "paper_repro.generation.run", "ViGGO and GSM8k by SmolLM2: exact matches",
            methods=("mle", "rosa_sparse"), tasks=("viggo", "gsm8k"),
            trial="--model {folder}/writer --max-new-tokens 4", measures=("test_perplexity",),
            section="written of rosa_sparse",
        ),
        Experiment(
            "rank_and_density", "paper_repro.rosa_sparse.budget", "rank against density at one budget, on a change of both",
            data=False, measures=("final",), trial="--ranks 0,8 --steps 3 --seeds 0", section="rank and density",
        ),
        Experiment(
            "structure", "paper_repro.structure.run", "what full training changes: singular values, outliers, robust PCA",
            measures=(), trial=None, section="structure",
        ),
        Experiment(
            "video", "paper_repro.rosa_sparse.video", "robust PCA's own example: the background of a film",
            data=False, measures=("background_error", "found"),
            trial="--frames 20 --size 12 --seeds 0 --picture {folder}/video.png",
            section="video",
        ),
    ),
    methods=("rosa_sparse", "sparse_only", "bayes_rosa", "bayes_rosa_core"),
    full=registry.get("methods", "rosa_sparse").replace(
        train=TrainConfig(epochs=1, batch_size=32, lr=7e-4, factor_lr={"values": 2e-4})
    ),
    full_from="rank 12 and density 0.15 % on every linear layer, alpha 16, rates 7e-4 and 2e-4, one epoch of 32 rows",
    differs=(
        "MiniLM and 500 rows of GLUE; ViGGO and GSM8k with SmolLM2 and few steps, at which hardly an answer is exactly right",
        "no dropout before the low-rank part",
    ),
    stated=("Full training of LLaMA-2-7B reaches 32.3, 82.1, 89.0 and takes more than 60 GB; LoRA and RoSA 20.6 and 20.3.",),
    figures=("subspace_glue.png", "../structure/structure.png", "video.png"),
)  # fmt: skip
