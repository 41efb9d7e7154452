"""The pages of papers: one for each folder, and an index of them."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from paper_repro import full_size
from paper_repro.expected import ranges
from paper_repro.held import compared, held, judged
from paper_repro.paper import Paper
from paper_repro.papers import PAPERS
from paper_repro.posteriors.tables import newest, posteriors
from paper_repro.posteriors.variants import METHODS
from paper_repro.results import read
from paper_repro.text import TITLES, spread

FOLDER = Path(__file__).parent
INTRINSIC = PAPERS["intrinsic_dimension"]
SHARE = 0.9  # of full training's accuracy, for d90
UNITS = {"accuracy": (100, 1, "accuracy, %"), "nll": (1, 3, "NLL, nats"), "ece": (100, 1, "ECE, %")}
COMMAND = "python -m paper_repro.run"


def describe(paper: Paper) -> str:
    """What stands at the top of a paper's page: idea, claims as judged, what differs, how to run it."""
    parts = [paper.source + ".", paper.idea]
    if paper.claims:
        parts.append(held(paper.claims))
    stated = [f"{claim.says}: {claim.stated}." for claim in paper.claims if claim.stated] + list(paper.stated)
    if stated:
        parts.append("The paper's own figures:\n\n" + "\n".join(f"- {line}" for line in stated))
    parts.append("What differs here:\n\n" + "\n".join(f"- {line}." for line in paper.differs))
    parts.append(
        "What answers it:\n\n"
        + "\n".join(f"- `{e.name}`, by `{e.module}`: {e.shows}." for e in paper.experiments)
        + f"\n\nMethods of the package: {', '.join(f'`{name}`' for name in paper.methods)}."
    )
    parts.append(
        f"```\n{COMMAND} {paper.name} --scale cpu --data-dir DATA     # what the results file lacks; --seeds 3 for a new seed\n"
        f"{COMMAND} {paper.name} --scale smoke                  # all of it on tiny networks, in seconds\n"
        f"{COMMAND} {paper.name} --scale gpu --data-dir DATA     # questions, SmolLM2, one GPU\n"
        f"{COMMAND} {paper.name} --scale paper                  # the paper's configuration, dry\n```"
    )
    return "\n\n".join(parts)


def expected(paper: Paper) -> str:
    """The ranges that one more seed must meet."""
    lines = ["| experiment | case | seeds | figure | mean | one more seed |", "|" + "---|" * 6]
    for experiment in paper.experiments:
        for one in ranges(experiment, read(experiment.name)):
            factor, digits, name = UNITS.get(one.measure, (1, 4, one.measure.replace("_", " ")))
            case = ", ".join(
                str(TITLES.get(str(value), value)) for key, value in one.case if key not in ("limit", "model")
            )
            low, mean, high = (f"{factor * value:.{digits}f}" for value in (one.low, one.mean, one.high))
            lines.append(f"| `{experiment.name}` | {case} | {one.seeds} | {name} | {mean} | {low} to {high} |")
    if len(lines) == 2:
        return "Nothing has three seeds yet."
    return "\n".join([
        "Between what one more seed lies in 95 of 100 cases, if it is drawn as these seeds were (a prediction interval of a "
        "normal law, so wide because seeds are few); the command says of each new figure whether it is met.",
        "",
        *lines,
    ])  # fmt: skip


def full(paper: Paper) -> str:
    """What the paper's own configuration trains in LLaMA-2-7B."""
    layers, numbers = full_size.trained(paper.full)
    return (
        f"{paper.full_from[0].upper()}{paper.full_from[1:]}: {numbers:,} trained numbers in {layers} layers of LLaMA-2-7B, "
        "counted on its shapes; a latent number counts twice, for its mean and its standard deviation. A test takes one step "
        "of this configuration on a tiny Llama."
    )


def index() -> str:
    """Every claim in a line: the paper's figures, ours, and whether it held; without links, since pages of the site hold it."""
    lines = ["| paper | claim | stated there | here | held? |", "|" + "---|" * 5]
    for paper in PAPERS.values():
        title = f"{paper.title}, `{paper.name}/`"
        for claim in paper.claims:
            found = compared(claim, newest(claim.experiment))
            ours = "; ".join(
                f"{TITLES[task]}: accuracy {one.accuracy:+.1f} points, NLL x {one.nll:.2f}, ECE x {one.ece:.2f}"
                for task, one in found.items()
            )
            lines.append(f"| {title} | {claim.says} | {claim.stated or '-'} | {ours or '-'} | {judged(claim, found)} |")
    reached, of = digits_d90()
    lines.append(
        f"| {INTRINSIC.title}, `{INTRINSIC.name}/` | few numbers, projected at "
        f"random, reach nine tenths of full training | {INTRINSIC.stated[0]} | "
        + (f"{reached} of {of} on scanned digits | yes |" if reached else "- | not measured |")
    )
    return "\n".join(lines)


def rows(paper: Paper) -> str:
    """The methods of a paper on the tasks that it is judged by."""
    one = next(e for e in paper.experiments if e.name == "posteriors")
    return posteriors(methods=one.methods, tasks=one.tasks)


def by_case(experiment: str, case: Sequence[str], figures: Mapping[str, tuple[float, int, str]], caption: str) -> str:
    """A table of one experiment: mean and standard deviation over seeds.

    Args:
        experiment: of the results file.
        case: fields that say what was measured.
        figures: factor, digits and heading of each figure.
        caption: what stands above it; "{date}" and "{machine}" are the newest record's.
    """
    records = list({(*(r[k] for k in case), r["seed"]): r for r in read(experiment)}.values())
    if not records:
        return "not measured yet"
    lines = [
        "| " + " | ".join([*case, "seeds", *(name for _, _, name in figures.values())]) + " |",
        "|" + "---|" * (len(case) + 1 + len(figures)),
    ]
    for key in dict.fromkeys(tuple(r[k] for k in case) for r in records):
        runs = [r for r in records if tuple(r[k] for k in case) == key]
        cells = [spread([r[name] for r in runs], factor, digits) for name, (factor, digits, _) in figures.items()]
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
    """Accuracy by d, Fastfood and dense, and the d90 of each."""
    table = by_case(
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
    )
    reached, of = digits_d90()
    return table + (
        f"\n\nThe least d of these with nine tenths of full training's accuracy: {reached} of {of}." if reached else ""
    )


def digits_d90() -> tuple[str, str]:
    """Return the least d with nine tenths of the accuracy of all weights, by projection, and how many all are."""
    records = read("intrinsic_digits")

    def mean(projection: str, d: int) -> float:
        return statistics.mean(r["accuracy"] for r in records if (r["projection"], r["d"]) == (projection, d))

    if not records:
        return "", ""
    enough = SHARE * mean("all", 0)
    found = []
    for projection in ("fastfood", "dense"):
        tried = sorted({r["d"] for r in records if r["projection"] == projection})
        reached = next((str(d) for d in tried if mean(projection, d) >= enough), f"more than {tried[-1]}")
        found.append(f"{reached} ({projection})")
    return " and ".join(found), f"{next(r['trainable'] for r in records if r['projection'] == 'all'):,}"


def texts() -> str:
    """Accuracy of MiniLM by d."""
    return by_case(
        "intrinsic",
        ("task", "d"),
        {"accuracy": (100, 1, "accuracy, %"), "nll": (1, 3, "NLL, nats"), "train_seconds": (1, 0, "fit, s")},
        "MiniLM, {limit} rows, {test_rows} test rows; d = 0: all linear layers are trained whole. {machine}, {date}; "
        "`paper_repro/intrinsic_dimension/texts.py`.",
    )


def variants(name: str) -> str:
    """What became of the methods of a paper with one thing changed at a time."""
    (one,) = (e for e in PAPERS[name].experiments if e.name == "variants")
    table = posteriors("variants", one.methods, one.tasks)
    train = METHODS[name].train
    if table.startswith("not"):
        return table
    return (
        f"{train.steps} steps at a rate that falls to 0, the prior's weight rising over {train.kl_warmup:.0%} of them, no "
        f"held-out rows and no temperature: what differs is the one thing alone.\n\n{table}"
    )


SECTIONS: dict[str, Callable[[], str]] = {
    "papers: index": index,
    "papers: index of the site": index,
    "results: variants of blob": functools.partial(variants, "blob"),
    "results: variants of melora": functools.partial(variants, "melora"),
    "results: kl noise": kl_noise,
    "results: video": video,
    "results: rank and density": rank_and_density,
    "results: intrinsic digits": digits,
    "results: intrinsic texts": texts,
}
for _paper in PAPERS.values():
    SECTIONS[f"paper: {_paper.name}"] = functools.partial(describe, _paper)
    SECTIONS[f"full size: {_paper.name}"] = functools.partial(full, _paper)
    SECTIONS[f"expected: {_paper.name}"] = functools.partial(expected, _paper)
    SECTIONS[f"results: rows of {_paper.name}"] = functools.partial(rows, _paper)
PAGES = tuple(FOLDER / name / "README.md" for name in PAPERS)
