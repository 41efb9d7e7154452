"""ROSA: train r random singular triplets of each weight, merge, choose others."""

from bayespeft import Targets, registry
from paper_repro.paper import Claim, Experiment, Paper, as_accurate, more_accurate
from paper_repro.subspace.ablation import CHANGES

PAPER = Paper(
    name="rosa_subspace",
    title="ROSA (random subspaces)",
    source="Hameed and Rabusseau 2023, ROSA: Random Orthogonal Subspace Adaptation, ICML 2023 workshop",
    idea="The trainable part holds r singular triplets of the current weight; it is merged each epoch and others are chosen, "
    "so that the update may reach any rank.",
    claims=(
        Claim("ROSA, Hameed and Rabusseau 2023", "subspaces that change beat LoRA", "rosa_subspace", "mle", more_accurate,
              "subspace_glue",
              stated="E2E, perplexity of GPT-2 small: 3.50, 3.02, 2.46, 2.19 against LoRA's 3.51, 3.51, 3.54, 3.64 at 1.3M, "
              "2.8M, 5.6M, 11.2M trained numbers (workshop paper)"),
        Claim("BAdam, 2404.02827", "block after block is as accurate as all at once", "full_layerwise", "full", as_accurate,
              "subspace_glue"),
    ),
    experiments=(
        Experiment(
            "subspace_glue", "paper_repro.subspace.glue", "small tasks of GLUE against LoRA, full and layer-wise training, "
            "with seconds and memory", methods=("mle", "rosa_subspace", "full", "full_layerwise"),
            tasks=("sst2", "mrpc", "cola", "rte"), trial="--rank 2 --here", section="subspace",
        ),
        Experiment(
            "subspace_ablation", "paper_repro.subspace.ablation", "which triplets, which start, how often they change",
            arguments="--tasks sst2", trial="--tasks sst2 --changes default,zero_start --rank 2 --here",
            section="subspace ablation",
        ),
        Experiment(
            "e2e", "paper_repro.rosa_subspace.e2e", "texts from data (E2E) by SmolLM2: perplexity and BLEU by rank",
            methods=("mle", "rosa_subspace"), tasks=("e2e",),
            trial="--model {folder}/writer --ranks 2 --batch 4 --max-new-tokens 4", measures=("perplexity", "bleu"),
            section="e2e",
        ),
        Experiment(
            "digits_variants", "paper_repro.posteriors.digits", "the same changes on another network and other data, by seeds",
            methods=("mle", *(f"rosa_{change}" for change in CHANGES)), tasks=("half the digits",), data=False,
            trial="--seeds 0 --steps 3 --picture {folder}/convergence.png", section="digits of rosa_subspace",
        ),
        Experiment(
            "synthetic_rank", "paper_repro.subspace.synthetic", "a change of rank 24, learned with less", data=False,
            measures=("final",), trial="--ranks 1 --steps 3 --lrs 0.01 --picture {folder}/synthetic.png",
            section="synthetic",
        ),
        Experiment(
            "cumulative_rank", "paper_repro.subspace.cumulative", "the rank of the whole update as training goes on",
            data=False, measures=("counted",), trial="--seeds 0 --steps 3 --picture {folder}/cumulative.png",
            section="cumulative rank",
        ),
    ),
    methods=("rosa_subspace", "bayes_subspace", "full", "full_layerwise"),
    full=registry.get("methods", "rosa_subspace").replace(targets=Targets(modules="all-linear")),
    full_from="rank 8 on every linear layer, triplets chosen anew every epoch; the paper's networks are GPT-2 and RoBERTa",
    differs=(
        "MiniLM and 500 rows; of E2E a hundred rows and SmolLM2 in the place of all of them and GPT-2",
        "triplets are a uniform subset, not the official window of neighbours",
    ),
    stated=(
        "GPT-2 medium at the lowest budget: LoRA's perplexity of 2.63 beats ROSA's 2.91 (workshop paper).",
        "One epoch of GPT-2 small: full training 657 s, LoRA 333 s, ROSA 332 s (workshop paper).",
    ),
    figures=("subspace_glue.png", "../subspace/synthetic.png", "../subspace/cumulative.png",),
)  # fmt: skip
