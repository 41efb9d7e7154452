"""The pages of papers: one for each folder, and an index of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from paper_repro import full_size, small_tables
from paper_repro.expected import ranges
from paper_repro.generation import held as written
from paper_repro.gpu.tables import questions
from paper_repro.held import compared, held, judged
from paper_repro.intrinsic_dimension import dimension
from paper_repro.paper import Paper
from paper_repro.papers import PAPERS
from paper_repro.posteriors.tables import newest, posteriors
from paper_repro.posteriors.variants import METHODS
from paper_repro.results import read
from paper_repro.subspace.tables import glue
from paper_repro.text import TITLES

FOLDER = Path(__file__).parent
INTRINSIC = PAPERS["intrinsic_dimension"]
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
    for name, claim, (ours, judgement) in (
        ("rosa_subspace", "E2E: a lower perplexity than LoRA's at the same budget", written.e2e()),
        ("rosa_sparse", "ViGGO and GSM8k: more exact answers than LoRA's", written.answers()),
    ):
        stated = PAPERS[name].claims[0].stated
        lines.append(f"| {PAPERS[name].title}, `{name}/` | {claim} | {stated} | {ours} | {judgement} |")
    lines += [
        f"| {INTRINSIC.title}, `{INTRINSIC.name}/` | few numbers, projected at random, reach nine tenths of full training | "
        f"{INTRINSIC.stated[0]} | {dimension.said(found)} of {dimension.full(found):,} on {name} | {dimension.held(found)} |"
        for name, found in [("scanned digits", read("intrinsic_digits")), *dimension.by_task(read("intrinsic"))]
        if found
    ]
    return "\n".join(lines)


def rows(paper: Paper) -> str:
    """The methods of a paper on the tasks that it is judged by."""
    one = next(e for e in paper.experiments if e.name in ("posteriors", "subspace_glue"))
    return glue(one.methods) if one.name == "subspace_glue" else posteriors(methods=one.methods, tasks=one.tasks)


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
    "results: questions": questions,
    **small_tables.SECTIONS,
}
for _paper in PAPERS.values():
    for _experiment in _paper.experiments:
        if _experiment.name == "papers":
            _shown = functools.partial(questions, _experiment.methods)
            SECTIONS[f"results: questions of {_paper.name}"] = _shown
    SECTIONS[f"paper: {_paper.name}"] = functools.partial(describe, _paper)
    SECTIONS[f"full size: {_paper.name}"] = functools.partial(full, _paper)
    SECTIONS[f"expected: {_paper.name}"] = functools.partial(expected, _paper)
    SECTIONS[f"results: rows of {_paper.name}"] = functools.partial(rows, _paper)
PAGES = tuple(FOLDER / name / "README.md" for name in PAPERS)
