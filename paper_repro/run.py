"""One paper, by one command: measures what is missing, and says whether it is what our own seeds have us expect.

    python -m paper_repro.run blob --scale cpu --data-dir DATA [--seeds 3] [--keep DIR]
    python -m paper_repro.run blob --scale smoke      # all of it on tiny random networks, in seconds; nothing is kept
    python -m paper_repro.run blob --scale gpu --data-dir DATA        # SmolLM2 on questions, ten minutes of one H100
    python -m paper_repro.run blob --scale paper      # the paper's configuration, dry

Measurements are appended to the one results file as they come, and what is there already is not measured again, so a run
that was killed goes on. A seed that is new is judged by the ranges of those before.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import track

from paper_repro import full_size, results, trial
from paper_repro.call import call
from paper_repro.expected import verdicts
from paper_repro.paper import Experiment, Paper
from paper_repro.papers import PAPERS

SCALES = ("smoke", "cpu", "gpu", "paper")
# Of the methods of a paper, with whom they are compared on a GPU.
BESIDE = ("mle", "map", "mc_dropout", "ensemble")


def measure(experiments: Sequence[Experiment], more: str, folder: Path | None = None) -> list[str]:
    """Call all that experiments ask for, and judge what came of it.

    Args:
        experiments: in this order.
        more: arguments for those that read rows.
        folder: for a trial, where its files go; None: this is none.

    Returns:
        A line for each figure of a new record.
    """
    before = {e.name: results.read(e.name) for e in experiments}
    tried = [e for e in experiments if folder is None or e.trial is not None]
    calls = [
        (e, [word.replace("{folder}", str(folder)) for word in arguments])
        for e in tried
        for arguments in e.calls(more if e.data else "", trial=folder is not None)
    ]
    for experiment, arguments in track(calls, "measurements"):
        call(experiment.module, arguments)
    lines = []
    for experiment in tried:
        known = results.read(experiment.name, results.HOME) if results.FILE != results.HOME else before[experiment.name]
        new = results.read(experiment.name)[len(before[experiment.name]) :]
        lines += verdicts(experiment, known, new)
    return lines


@contextmanager
def trial_of() -> Iterator[tuple[str, Path]]:
    """Yield arguments of a trial and a folder for it; results go there, too."""
    before = results.FILE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results.FILE = folder / "results.jsonl"
        try:
            yield trial.prepare(folder), folder
        finally:
            results.FILE = before


def on_gpu(paper: Paper) -> list[Experiment]:
    """Return the measurement of a paper's methods by `paper_repro.gpu.papers`, where it has any that answer questions."""
    methods = tuple(dict.fromkeys([*paper.methods, *BESIDE]))
    tasks = ("arc_easy", "openbookqa", "arc_challenge", "boolq_closed_book")
    return [
        Experiment(
            "papers", "paper_repro.gpu.papers", "multiple choice by number of draws", methods, tasks, "--device cuda"
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paper", choices=list(PAPERS))
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    args, rest = parser.parse_known_args()
    paper = PAPERS[args.paper]
    if args.scale == "paper":
        layers, numbers = full_size.trained(paper.full)
        print(f"{paper.title}: {paper.full_from}")
        print(f"LLaMA-2-7B: {layers} layers, {numbers:,} trained numbers, by the shapes of its layers")
        print(f"one step on a tiny random Llama: NLL {full_size.step(paper.full):.4f} nats")
        return
    if args.scale == "smoke":
        with trial_of() as (more, folder):
            lines = measure(paper.experiments, more, folder)
    else:
        lines = measure(on_gpu(paper) if args.scale == "gpu" else paper.experiments, shlex.join(rest))
    print("\n".join(lines) or "All of it is in the results file: name a new seed, as in --seeds 3.")


if __name__ == "__main__":
    main()
