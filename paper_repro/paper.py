"""What a paper claims, and what here answers it: the words that every folder of a paper is written in."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bayespeft import Method

# What counts as the same accuracy (points) and NLL (a share), and as less ECE (a share).
POINTS, SAME, LESS = 1.0, 0.02, 0.1


@dataclass(frozen=True)
class Against:
    """One method against another on one task: means over the seeds that both have.

    Attributes:
        accuracy: difference in points, the method's less the other's.
        nll, ece: the method's over the other's.
        seeds: how many.
    """

    accuracy: float
    nll: float
    ece: float
    seeds: int


def better_calibrated(found: Against) -> bool:
    """at least a tenth less ECE and no more NLL, at an accuracy at most a point lower"""
    return found.ece <= 1 - LESS and found.nll <= 1 and found.accuracy >= -POINTS


def as_good(found: Against) -> bool:
    """an NLL at most 2 % higher, at an accuracy at most a point lower"""
    return found.nll <= 1 + SAME and found.accuracy >= -POINTS


def as_accurate(found: Against) -> bool:
    """an accuracy at most a point lower"""
    return found.accuracy >= -POINTS


def more_accurate(found: Against) -> bool:
    """an accuracy at least half a point higher"""
    return found.accuracy >= POINTS / 2


@dataclass(frozen=True)
class Claim:
    """What a paper says of a method and another one.

    Attributes:
        paper: name and arXiv number, or where it appeared.
        says: the claim in a sentence.
        method, other: names in the results.
        rule: what has to hold on a task; its docstring is shown.
        experiment: of the results file.
        stated: the paper's own figures, and where in the paper they stand; "" where none could be verified.
    """

    paper: str
    says: str
    method: str
    other: str
    rule: Callable[[Against], bool]
    experiment: str = "posteriors"
    stated: str = ""


@dataclass(frozen=True)
class Experiment:
    """A module of measurements, as a paper uses it.

    Attributes:
        name: of its records in the results file.
        module: whose `main()` measures what the results file lacks.
        shows: what of the paper it answers.
        methods, tasks: one call of the module for each of them, so that a progress bar counts them; none: one call in all.
        arguments: further ones, as on a command line.
        trial: those of a trial on tiny networks in the place of `arguments`; None: it has no trial.
        data: whether it reads rows of a data set: it then takes --data-dir, --model, --limit, --seeds and --steps.
        measures: figures of a record whose spread over seeds says what a rerun must meet.
        section: of `paper_repro.tables`, with what it measured.
    """

    name: str
    module: str
    shows: str
    methods: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("sst2",)
    arguments: str = ""
    trial: str | None = ""
    data: bool = True
    measures: tuple[str, ...] = ("accuracy", "nll", "ece")
    section: str = ""

    def calls(self, more: str = "", *, trial: bool = False) -> Iterator[list[str]]:
        """Yield the arguments of each call; `more` win over the experiment's own, and a trial's own over `more`.

        Args:
            more: as on a command line.
            trial: take `trial` in the place of `arguments`, and one task.
        """
        parts = (more, self.trial or "") if trial else (self.arguments, more)
        last = [word for part in parts for word in shlex.split(part)]
        if not self.methods:
            yield last
            return
        for task, method in itertools.product(self.tasks[:1] if trial else self.tasks, self.methods):
            yield ["--tasks", task, "--methods", method, *last]


def questions(*methods: str) -> Experiment:
    """Return the measurement of methods on questions by a small language model: BLoB's task, at the size of a CPU."""
    return Experiment(
        "papers",
        "paper_repro.gpu.papers",
        "SmolLM2-135M on questions (BoolQ without its passages), by label tokens and number of draws",
        methods=methods,
        tasks=("boolq_closed_book",),
        arguments="--model smollm2 --limit 200 --test-limit 60 --steps 20 --batch 4 --max-length 48 --draws 0,5",
        trial="--tasks sst2 --batch 2 --draws 0,2 --max-length 16",
        measures=(),
        section="questions",
    )


@dataclass(frozen=True)
class Paper:
    """A paper, its claims, and what answers them.

    Attributes:
        name: its folder, and its name on the command line.
        title, source: of the paper; the source has authors, year and number.
        idea: in a sentence or two.
        claims: about two methods, each judged by a rule.
        stated: further figures of the paper that could be verified, and where they stand.
        experiments: that answer it on a CPU.
        methods: of the package.
        full: the paper's own configuration, as a method of the package with settings of the paper.
        full_from: where that configuration stands.
        differs: what is not as in the paper.
        figures: pictures, made from the results file, as paths from the folder.
    """

    name: str
    title: str
    source: str
    idea: str
    claims: tuple[Claim, ...]
    experiments: tuple[Experiment, ...]
    methods: tuple[str, ...]
    full: Method
    full_from: str
    differs: tuple[str, ...]
    stated: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
