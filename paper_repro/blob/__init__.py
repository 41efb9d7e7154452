"""BLoB: a mean-field posterior over LoRA's A, trained together with its mean."""

from bayespeft import registry
from paper_repro.paper import Claim, Experiment, Paper, better_calibrated, questions

SOURCE = "BLoB, 2406.11675"
VARIANTS = ("blob", "blob_batch", "blob_reweighted", "blob_two_optimisers")

PAPER = Paper(
    name="blob",
    title="BLoB",
    source="Wang et al. 2024, BLoB: Bayesian Low-Rank Adaptation by Backpropagation, arXiv 2406.11675",
    idea="A mean-field posterior over LoRA's A by variational inference, Flipout, and a KL that is reweighted over steps.",
    claims=(
        Claim(SOURCE, "Bayes over A beats maximum likelihood in ECE and NLL", "blob", "mle", better_calibrated),
        Claim(SOURCE, "Bayes over A beats MAP", "blob", "map", better_calibrated),
        Claim(SOURCE, "Bayes over A beats MC dropout", "blob", "mc_dropout", better_calibrated),
    ),
    experiments=(
        Experiment(
            "posteriors", "paper_repro.posteriors.run", "accuracy, NLL, ECE and mutual information beside the methods it is "
            "compared with", methods=("mle", "map", "mc_dropout", "ensemble", "laplace_lora", "blob"), tasks=("sst2", "mrpc"),
            section="posteriors",
        ),
        Experiment(
            "variants", "paper_repro.posteriors.variants",
            "Flipout or one draw a batch, the KL reweighted or not, two optimisers or one objective",
            methods=VARIANTS, section="variants of blob",
        ),
        Experiment(
            "digits_variants", "paper_repro.posteriors.digits",
            "the same changes on another network and other data, with the curves of training and their spread",
            methods=("mle", *VARIANTS), tasks=("half the digits",), data=False,
            trial="--seeds 0 --steps 3 --picture {folder}/convergence.png", section="digits of blob",
        ),
        questions("mle", "laplace_lora", "blob"),
    ),
    methods=("blob", "blob_official"),
    full=registry.get("methods", "blob_official"),
    full_from="scripts/blob/blob-llama-all.sh of Wang-ML-Lab/bayesian-peft: rank 8, alpha 16, 5000 steps of 4 rows, KL by SGD "
    "at 0.01",
    differs=(
        "MiniLM and 500 rows in the place of LLaMA-2-7B and six tasks of multiple choice",
        "one objective and one optimiser, signs that flip for an example and not for a token; the official way is "
        "`blob_official`",
        "no adapter on the language model's head",
    ),
    figures=("posteriors.png", "variants.png", "../posteriors/convergence.png"),
)  # fmt: skip
