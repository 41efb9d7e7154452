"""Intrinsic dimension: how many numbers, projected at random to all weights, does a task need?"""

from bayespeft import registry
from paper_repro.paper import Experiment, Paper

PAPER = Paper(
    name="intrinsic_dimension",
    title="Intrinsic dimension",
    source="Li et al. 2018, arXiv 1804.08838; Aghajanyan et al. 2020, arXiv 2012.13255",
    idea="Train d numbers whose random projection is the change of all weights; d90 is the least d with nine tenths of the "
    "accuracy of training all of them.",
    claims=(),
    experiments=(
        Experiment(
            "intrinsic_digits", "paper_repro.intrinsic_dimension.digits",
            "d90 of a small network on scanned digits, Fastfood against a dense projection", data=False,
            measures=("accuracy",), trial="--dimensions 20 --seeds 0 --steps 3", section="intrinsic digits",
        ),
        Experiment(
            "intrinsic", "paper_repro.intrinsic_dimension.texts", "d90 of MiniLM on SST-2, Fastfood against a dense projection",
            trial="--dimensions 10 --dense 10", section="intrinsic texts",
        ),
    ),
    methods=("intrinsic", "intrinsic_bayes"),
    full=registry.get("methods", "intrinsic").replace(adapter=registry.get("methods", "intrinsic").adapter.replace(d=200)),
    full_from="200 numbers, with one scale a layer (SAID); the paper's network is RoBERTa",
    differs=(
        "scanned digits of 8 x 8 pixels and a network of two hidden layers of 50, in the place of MNIST's 28 x 28 and 200",
        "MiniLM's linear layers alone; a fresh head is trained whole beside the d numbers",
    ),
    stated=(
        "200 numbers reach nine tenths of full training's accuracy for RoBERTa on MRPC (abstract of 2012.13255).",
        "A fully connected network on MNIST has a d90 of 750 (1804.08838, as a summary of it by vitalab.github.io has it).",
    ),
    figures=("dimension.png",),
)  # fmt: skip
