"""Tables of one experiment each, a line for each case: mean and standard deviation over its seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from paper_repro.generation.tables import written
from paper_repro.intrinsic_dimension import dimension
from paper_repro.posteriors import digits as variants
from paper_repro.posteriors.variants import ANYWHERE as VARIANTS
from paper_repro.results import read
from paper_repro.text import spread

Figures = Mapping[str, tuple[float, int, str]]


def by_case(experiment: str, case: Sequence[str], figures: Figures, caption: str, methods: Sequence[str] = ()) -> str:
    """A table of one experiment: mean and standard deviation over seeds.

    Args:
        experiment: of the results file.
        case: fields that say what was measured.
        figures: factor, digits and heading of each figure.
        caption: what stands above it; "{date}" and "{machine}" are the newest record's.
        methods: those alone; all where none is named.
    """
    records = list({(*(r[k] for k in case), r["seed"]): r for r in read(experiment)}.values())
    records = [r for r in records if not methods or r["method"] in methods]
    if not records:
        return "not measured yet"
    lines = [
        "| " + " | ".join([*case, "seeds", *(name for _, _, name in figures.values())]) + " |",
        "|" + "---|" * (len(case) + 1 + len(figures)),
    ]
    for key in dict.fromkeys(tuple(r[k] for k in case) for r in records):
        runs = [r for r in records if tuple(r[k] for k in case) == key]
        known = {name: [r[name] for r in runs if r[name] is not None] for name in figures}
        cells = [
            spread(known[name], factor, digits) if known[name] else "-" for name, (factor, digits, _) in figures.items()
        ]
        named = [f"`{value}`" if isinstance(value, str) else str(value) for value in key]
        lines.append("| " + " | ".join([*named, str(len(runs)), *cells]) + " |")
    return "\n".join([caption.format(**records[-1]), "", *lines])


def kl_noise() -> str:
    """The KL by its formula and by draws."""
    return by_case(
        "kl_noise",
        ("method",),
        {
            "kl": (1, 2, "KL, nats"),
            "kl_by_draws": (1, 2, "by draws"),
            "standard_error": (1, 2, "standard error"),
            "sd_of_one_draw": (1, 2, "sd of one draw"),
            "gradient_norm": (1, 2, "gradient's norm"),
            "gradient_noise": (1, 2, "noise of one draw's gradient"),
        },
        "KL of q to its prior after {steps} steps of a tiny BERT, by its formula and by {draws} draws of ln q - ln p; the "
        "noise is the root mean square distance of one draw's gradient from the formula's. Mean ± standard deviation over "
        "seeds. {machine}, {date}; `paper_repro/melora/kl_noise.py`.",
    )


def video() -> str:
    """Robust PCA on a film."""
    return by_case(
        "video",
        ("frames", "size"),
        {
            "background_error": (100, 1, "error of the background, %: robust PCA"),
            "median_error": (100, 1, "median over time"),
            "rank_2_error": (100, 1, "best rank 2"),
            "rank": (1, 0, "rank found"),
            "found": (100, 1, "moving pixels found, %"),
            "precision": (100, 1, "of those said, right, %"),
        },
        "Relative Frobenius error of the background of generated frames, whose true rank is 2. {machine}, {date}; "
        "`paper_repro/rosa_sparse/video.py`.",
    )


def rank_and_density() -> str:
    """RoSA's rank against its density at one budget."""
    return by_case(
        "rank_and_density",
        ("rank",),
        {
            "density": (100, 1, "density, %"),
            "trainable": (1, 0, "trained numbers"),
            "start": (1, 1, "squared error, start"),
            "final": (1, 2, "end"),
        },
        "Squared error over all outputs on a change of rank 8 plus single elements, after {steps} steps, where rank 16 is "
        "LoRA. {machine}, {date}; `paper_repro/rosa_sparse/budget.py`.",
    )


def digits() -> str:
    """Accuracy by d on scanned digits, Fastfood and dense, and the d90 of each."""
    return by_case(
        "intrinsic_digits",
        ("projection", "d"),
        {
            "accuracy": (100, 1, "accuracy, %"),
            "train_nll": (1, 3, "training NLL, nats"),
            "trainable": (1, 0, "trained numbers"),
            "seconds": (1, 1, "fit, s (of a busy machine)"),
        },
        "A network of 64, 50, 50 and 10 units at its random start, {steps} steps, {test_rows} test digits. {machine}, {date}; "
        "`paper_repro/intrinsic_dimension/digits.py`.",
    ) + dimension.sentence(read("intrinsic_digits"))


def texts() -> str:
    """Accuracy of MiniLM by d, and the d90."""
    records = read("intrinsic")
    table = by_case(
        "intrinsic",
        ("task", "projection", "d"),
        {
            "accuracy": (100, 1, "accuracy, %"),
            "nll": (1, 3, "NLL, nats"),
            "train_nll": (1, 3, "training NLL, nats"),
            "trainable": (1, 0, "trained numbers"),
        },
        "MiniLM, {limit} rows of at most {max_length} tokens, {steps} steps of 16, {test_rows} test rows; `all` trains all "
        "linear layers whole. The head is trained beside the d numbers and the scales of layers. {machine}, {date}; "
        "`paper_repro/intrinsic_dimension/texts.py`.",
    )
    for task in dict.fromkeys(r["task"] for r in records):
        table += dimension.sentence([r for r in records if r["task"] == task])
    return table


def digits_variants(methods: Sequence[str]) -> str:
    """What became of methods with one thing changed at a time, on digits."""
    return by_case(
        variants.EXPERIMENT,
        ("method",),
        {
            "accuracy": (100, 1, "accuracy, %"),
            "nll": (1, 3, "NLL, nats"),
            "ece": (100, 1, "ECE, %"),
            "mutual_information": (1, 4, "MI"),
            "trainable": (1, 0, "trained numbers"),
        },
        "A network that knows half of the digits, {rows} rows of all, {steps} steps, {test_rows} test rows, {draws} draws of "
        "what has a posterior. {machine}, {date}; `paper_repro/posteriors/digits.py`.",
        methods,
    )


def convergence(methods: Sequence[str]) -> str:
    """The training NLL by step, and how much runs differ."""
    records = [r for r in read(variants.EXPERIMENT) if r["method"] in methods]
    if not records:
        return "not measured yet"
    newest = list({(r["method"], r["seed"]): r for r in records if r["steps"] == records[-1]["steps"]}.values())
    points = {name: variants.over_seeds(newest, name) for name in methods}
    steps = [step for step, _ in next(p for p in points.values() if p)][1::2]
    lines = [
        "| method | seeds | " + " | ".join(f"to step {step}" for step in steps) + " |",
        "|" + "---|" * (2 + len(steps)),
    ]
    for name, found in points.items():
        if found:
            cells = [spread(dict(found)[step], 1, 3) for step in steps]
            lines.append(f"| `{name}` | {len(found[0][1])} | " + " | ".join(cells) + " |")
    return "\n".join([
        "Training NLL in nats, the mean of 25 steps, as mean ± standard deviation over seeds: of what the table above is of.",
        "",
        *lines,
    ])  # fmt: skip


def weight_covariance() -> str:
    """What covariance of W posteriors over C and over A stand for."""
    return by_case(
        "weight_covariance",
        ("method",),
        {
            "weight_rank": (1, 0, "rank of Cov(vec W)"),
            "numbers": (1, 0, "of"),
            "spread": (100, 1, "spread of W, % of its norm"),
            "first": (100, 1, "in one direction, %"),
            "first_r": (100, 1, "in r directions, %"),
            "beside_diagonal": (100, 1, "beside the diagonal, %"),
            "published_std": (1, 2, "printed sd of Q / true"),
        },
        "The middle layer (64 x 64) of the network on digits, rank 8, {steps} steps: the root of the covariance's trace, "
        "shares of the trace, and the share of the squares of all its elements that lies beside the diagonal. {machine}, "
        "{date}; `paper_repro/melora/covariance.py`.",
    )


def cumulative_rank() -> str:
    """The rank of ROSA's whole update by step."""
    return by_case(
        "cumulative_rank",
        ("method", "rank", "steps"),
        {
            "counted": (1, 1, "rank of W - W0"),
            "held": (1, 1, "singular values that hold 99 %"),
            "final": (1, 3, "squared error"),
        },
        "The rank of the whole update after so many steps at a constant rate; singular values count above a thousandth of the "
        "largest, of 32. {machine}, {date}; `paper_repro/subspace/cumulative.py`.",
    )


def e2e() -> str:
    """Perplexity and BLEU of texts from data, by rank."""
    return by_case(
        "e2e",
        ("rank", "method"),
        {
            "perplexity": (1, 3, "perplexity a token"),
            "bleu": (100, 1, "BLEU-4, %"),
            "trainable": (1, 0, "trained numbers"),
            "train_seconds": (1, 0, "fit, s"),
            "refresh_seconds": (1, 0, "of these factors, s"),
            "unfinished": (1, 0, "texts without an end"),
        },
        "SmolLM2, every linear layer, {steps} steps of {batch} of {limit} training rows; {test_rows} meaning representations "
        "that training did not see, with {references} references. {machine}, {date}; `paper_repro/rosa_subspace/e2e.py`.",
    )


def backbone_memory() -> str:
    """What methods add to the network that they sit on."""
    return by_case(
        "backbone_memory",
        ("model", "method"),
        {
            "backbone": (1e-6, 2, "backbone, million numbers"),
            "trainable": (1, 0, "trained numbers"),
            "share": (100, 2, "of the backbone, %"),
            "weights_bytes": (1e-6, 1, "backbone, MB"),
            "trained_bytes": (1e-6, 1, "trained numbers, gradients and moments, MB"),
            "peak_memory_bytes": (1e-6, 0, "process's peak, MB"),
        },
        "{steps} steps of 16 texts of 64 tokens; a trained number counts with its gradient and Adam's two moments; the peak is "
        "that of a process with torch in it. {machine}, {date}; `paper_repro/melora/memory.py`.",
    )


BLOB = tuple(name for name in VARIANTS if name.startswith("blob"))
MELORA = tuple(name for name in VARIANTS if name.startswith("melora"))
SECTIONS: dict[str, Callable[[], str]] = {
    "results: kl noise": kl_noise,
    "results: video": video,
    "results: rank and density": rank_and_density,
    "results: intrinsic digits": digits,
    "results: intrinsic texts": texts,
    "results: weight covariance": weight_covariance,
    "results: cumulative rank": cumulative_rank,
    "results: e2e": e2e,
    "results: backbone memory": backbone_memory,
    "results: written of rosa_sparse": functools.partial(written, ("mle", "rosa_sparse", "rosa_subspace")),
    "results: digits of blob": functools.partial(digits_variants, ("mle", *BLOB)),
    "results: digits of melora": functools.partial(digits_variants, ("mle", *MELORA)),
    "results: digits of rosa_subspace": functools.partial(digits_variants, ("mle", *variants.ROSA)),
    "results: convergence of blob": functools.partial(convergence, ("mle", *BLOB)),
    "results: convergence of melora": functools.partial(convergence, ("mle", *MELORA)),
}
