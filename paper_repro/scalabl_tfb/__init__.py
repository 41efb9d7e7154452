"""ScalaBL and TFB: a posterior over r scales a layer, and one without any training."""

from bayespeft import registry
from paper_repro.paper import Claim, Experiment, Paper, as_good, better_calibrated

PAPER = Paper(
    name="scalabl_tfb",
    title="ScalaBL and TFB",
    source="Samplawski et al. 2025, arXiv 2506.21408 (ScalaBL); Shi et al. 2024, arXiv 2412.05723 (TFB)",
    idea="Few random numbers: r scales between a LoRA's factors, or a single width that a search finds around a trained LoRA.",
    claims=(
        Claim("ScalaBL, 2506.21408", "r latent scales a layer are as good as BLoB", "scalabl", "blob", as_good,
              stated="competitive with about 1000 further numbers (abstract)"),
        Claim("TFB, 2412.05723", "a spread found by search calibrates a trained LoRA", "tfb", "mle", better_calibrated),
    ),
    experiments=(
        Experiment(
            "posteriors", "paper_repro.posteriors.run", "both beside BLoB and the LoRA that TFB starts from; ScalaBL as its "
            "official code trains it", methods=("mle", "blob", "scalabl", "scalabl_official", "tfb"),
            tasks=("sst2", "mrpc"), section="posteriors",
        ),
    ),
    methods=("scalabl", "scalabl_official", "tfb"),
    full=registry.get("methods", "scalabl_official"),
    full_from="conf/optim/vi.yaml of SRI-CSL/BayesAdapt: rank 8, alpha 16, 5000 steps of 4 rows, KL by SGD at 0.2",
    differs=(
        "MiniLM and 500 rows in the place of language models of 7B and more",
        "KL(q || p), as the paper states it; the official code's KL(p || q) is `scalabl_official`",
        "TFB's search returns the end of its bracket that was accepted; the official code returns the other one",
    ),
    figures=("posteriors.png",),
)  # fmt: skip
