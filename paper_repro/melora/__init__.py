"""Me-LoRA: a posterior over the r x r core of a LoRA with three factors."""

from bayespeft import TrainConfig, registry
from paper_repro.paper import Claim, Experiment, Paper, as_good, better_calibrated, questions

SOURCE = "Me-LoRA, ICLR 2025 submission"
METHODS = ("mle", "map", "blob", "melora", "melora_randomised", "melora_free", "melora_full", "melora_matrix_normal")
VARIANTS = (
    "melora",
    "melora_batch",
    "melora_flipout",
    "melora_kl_0.1",
    "melora_kl_10",
    "melora_rank_4",
    "melora_rank_32",
    "melora_prior_0.2",
    "melora_prior_1",
    "melora_randomised",
)

PAPER = Paper(
    name="melora",
    title="Me-LoRA",
    source="Me-LoRA, ICLR 2025 submission, withdrawn",
    idea=(
        "W0 + s B C A with a mean-field posterior over the r x r core C alone: fewer random numbers than a posterior over A, "
        "at what should be the same calibration."
    ),
    claims=(
        Claim(SOURCE, "Bayes over the core beats maximum likelihood", "melora", "mle", better_calibrated),
        Claim(SOURCE, "an r x r core is latent enough: as good as BLoB", "melora", "blob", as_good),
    ),
    experiments=(
        Experiment(
            "posteriors", "paper_repro.posteriors.run",
            "accuracy, NLL, ECE and mutual information beside maximum likelihood, MAP and BLoB; with and without the "
            "randomised prior; without a prior on A and B; other covariances of the core",
            methods=METHODS, tasks=("sst2", "mrpc"), section="posteriors",
        ),
        Experiment(
            "variants", "paper_repro.posteriors.variants",
            "noise, weight of the KL, rank, prior and blocks, one changed at a time",
            methods=(*VARIANTS, "melora_last_2"), section="variants of melora",
        ),
        Experiment(
            "backbone_memory", "paper_repro.melora.memory", "parameters and memory with the backbone, beside BLoB's and LoRA's",
            data=False, measures=(), trial="--model {folder}/network --steps 1 --here", section="backbone memory",
        ),
        Experiment(
            "kl_noise", "paper_repro.melora.kl_noise", "the KL by its formula against the same KL by draws", data=False,
            measures=("relative_error",), trial="--steps 3 --draws 8", section="kl noise",
        ),
        Experiment(
            "digits_variants", "paper_repro.posteriors.digits",
            "the same changes on another network and other data, with the curves of training and their spread",
            methods=("mle", *VARIANTS), tasks=("half the digits",), data=False,
            trial="--seeds 0 --steps 3 --picture {folder}/convergence.png", section="digits of melora",
        ),
        Experiment(
            "weight_covariance", "paper_repro.melora.covariance", "what covariance of W a posterior over the core stands for",
            data=False, measures=("spread", "first_r", "beside_diagonal"), trial="--steps 3 --seeds 0",
            section="weight covariance",
        ),
        questions("mle", "blob", "melora"),
    ),
    methods=("melora", "melora_paper", "melora_randomised", "melora_full", "melora_low_rank", "melora_matrix_normal"),
    full=registry.get("methods", "melora_paper").replace(
        train=TrainConfig(steps=5000, batch_size=4, lr=1e-4, variational_lr=1e-4)
    ),
    full_from="the settings that the submission prints (rank 8, alpha 16, prior sd 0.2 + U(0, 1), std = G^2), "
    "steps and rates of BLoB",
    differs=(
        "MiniLM and 500 rows of SST-2 and MRPC in the place of LLaMA-2-7B and multiple choice",
        "priors on A, B and the head; the submission's own settings are `melora_paper`",
        "the submission is withdrawn and its tables could not be read again, so that its figures do not stand here",
    ),
    stated=(
        "On the query and value projections of LLaMA-2-7B at rank 8 it trains a third fewer numbers than BLoB; by the formulas "
        "r (m + n) + 2 r^2 and r (m + 2 n) a projection these are the numbers under \"At full size\".",
    ),
    figures=("posteriors.png", "variants.png", "../posteriors/convergence.png"),
)  # fmt: skip
