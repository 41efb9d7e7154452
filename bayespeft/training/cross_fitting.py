"""What held-out rows decide by fits on the others: the length of a run, the prior's weight, a temperature or a noise.

Each fold trains on the rows that it does not hold out and is judged by those, so that every row has a say. The curves of
held-out NLL are added up, for each weight of the prior that is tried; the weight whose curve comes lowest is taken, and of its
steps the last that held-out rows can't tell from the lowest. Weights other than the prior's own are tried in turn while each is
clearly ahead of the one before, and only the best of them, while it leads, on a further fold, so that most runs pay for one
fold more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from bayespeft.data.examples import Examples
from bayespeft.prediction.temperature import ONE, best_temperature, of_all_rows
from bayespeft.training.history import Ended, History
from bayespeft.training.horizon import FIRST_LOOK, Reason, looks, margin, resolved, upper_bound
from bayespeft.training.lookout import NOISE, CurveLookout, calibrates, curve, validator
from bayespeft.training.loop import Lookout
from bayespeft.training.noise import learns_noise, nll_unit
from bayespeft.training.problem import Problem

# Later folds go so many times as far as the best step of the first, which its few rows may have put too early.
FURTHER = 2.0
# The differences of two fits have about this standard deviation from row to row, in nats. Another weight of the prior must be
# ahead by one standard error to be chosen, and by two for the prior's own to be given up before the last fold.
SPREAD = 0.5
# A later step is taken for the best one where its NLL is above the lowest by no more than this share of the standard error of
# that: from row to row an NLL varies by about its mean.
LEEWAY = 0.5


class Once(Protocol):
    """One run of the loop: `bayespeft.training.loop.run` with what the user wants besides (a bar, a checkpoint)."""

    def __call__(
        self,
        problem: Problem,
        part: str = "",
        *,
        validate: Callable[[], dict[str, float]] | None,
        lookout: Lookout | None,
    ) -> History:
        """Run it and return its history; `part` says, for a progress bar, which run of several it is."""


@dataclass
class Tried:
    """What was seen of one weight of the prior.

    Attributes:
        problem: the whole problem under this weight.
        most: the step at which later folds end.
        curves: of each fold, step -> NLL of its rows, nats per example, at each temperature of the grid.
        noises: of each fold, step -> the noise that fits its rows best, where a noise is learned.
        sizes: rows that each fold held out.
    """

    problem: Problem
    most: int
    curves: list[dict[int, tuple[float, ...]]] = field(default_factory=list)
    noises: list[dict[int, float]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def run(
        self, rest: Examples, held: Examples, title: str, once: Once, beaten_by: tuple[int, float] | None = None
    ) -> int:
        """Train on `rest`, look at `held`, and return the steps that it took; `beaten_by` as `CurveLookout`."""
        fold = _part(self.problem, rest, self.most)
        lookout = CurveLookout(
            frozenset(looks(self.most)),
            self.most,
            held_out=True,
            labels=labels_each(self.problem),
            likelihood=self.problem.likelihood,
            beaten_by=beaten_by,
        )
        history = once(fold, title, validate=validator(fold, held), lookout=lookout)
        self.curves.append({r.step: curve(r.validation) for r in history.records if r.validation})
        self.noises.append({r.step: r.validation.get(NOISE, 0.0) for r in history.records if r.validation})
        self.sizes.append(len(held))
        best = lookout.see(history).best
        # A first fold on which nothing was learned says nothing of how far the others should go.
        if len(self.curves) == 1 and best > FIRST_LOOK:
            self.most = _next_look(FURTHER * best, self.most)
        return history.steps

    @property
    def steps(self) -> list[int]:
        """The looks that all folds had."""
        return sorted(set.intersection(*(set(curve) for curve in self.curves)))

    def nlls(self, step: int) -> list[float]:
        """Return the NLL after a step over the rows of all folds, at each temperature of the grid."""
        weighed = [[size * nll for nll in curve[step]] for size, curve in zip(self.sizes, self.curves, strict=True)]
        return [sum(column) / sum(self.sizes) for column in zip(*weighed, strict=True)]

    @property
    def best(self) -> int:
        """The step whose NLL is the lowest, however little it is below others."""
        return min(self.steps, key=lambda step: min(self.nlls(step)))

    @property
    def lowest(self) -> float:
        """The NLL there, at its best temperature, nats per example."""
        return min(self.nlls(self.best))

    @property
    def latest(self) -> int:
        """The last step whose NLL is the lowest as far as held-out rows can tell; of quantities, the best step.

        Before a network has learned its task the NLL falls steeply, and behind that it rises slowly where a temperature is
        fitted, so that too early costs more than too late.
        """
        if not self.problem.likelihood.tempers:
            return self.best
        most = self.lowest * (1 + LEEWAY / sum(self.sizes) ** 0.5)
        return max(step for step in self.steps if min(self.nlls(step)) <= most)

    def noise(self, step: int) -> float:
        """Return the noise that fits the rows of all folds after a step."""
        squares = sum(size * own[step] ** 2 for size, own in zip(self.sizes, self.noises, strict=True))
        return float((squares / sum(self.sizes)) ** 0.5)


def cross_fitted(problem: Problem, pairs: Sequence[tuple[Examples, Examples]], once: Once) -> History:
    """Find the best step and the best weight of the prior on the folds, then fit all rows.

    Args:
        problem: with `train.steps` "auto".
        pairs: of each fold, the rows to train on and those that it holds out.
        once: runs the loop.

    Returns:
        The history of the last run, with `ended`.
    """
    most, labels, unit = bound(problem, pairs[0][0]), labels_each(problem), nll_unit(problem.likelihood)
    tried: list[Tried] = []
    steps = 0
    for k, (rest, held) in enumerate(pairs):
        title = f"fold {k + 1} of {len(pairs)}"
        if k == 0:
            for weighed in under_each_weight(problem):
                # What the first fold says of the weight before is what the next has to beat there.
                before = (tried[-1].best, (tried[-1].lowest - unit) / labels) if tried else None
                tried.append(Tried(weighed, most))
                steps += tried[-1].run(rest, held, title, once, before)
                if not leads([(one.lowest - unit) / labels for one in tried], len(held)):
                    break
        else:
            steps += sum(one.run(rest, held, title, once) for one in tried)
        tried = _in_the_race(tried, labels)
    chosen = tried[choose([(one.lowest - unit) / labels for one in tried], sum(len(held) for _, held in pairs))]
    taken = chosen.latest
    per_epoch = _per_epoch(problem, pairs[0][0])
    # Logits grow by the step, rows are memorised by the pass: as many steps would be too few, as many passes too many.
    final = max(1, round(taken * (_per_epoch(problem, problem.examples) / per_epoch) ** 0.5))
    final = min(final, bound(problem, problem.examples))
    if learns_noise(problem.likelihood):
        problem.likelihood = problem.likelihood.replace(noise=chosen.noise(taken))
    train = resolved(chosen.problem.train, final)
    history = once(replace(problem, train=train), "all rows", validate=None, lookout=None)
    nlls = [min(chosen.nlls(step)) for step in chosen.steps]
    judged = [(nll - unit) / labels for nll in nlls]
    rows = sum(chosen.sizes)
    ended = Ended(
        reason=_reason(judged, chosen.steps.index(taken), chosen.steps[-1] >= most),
        steps=final,
        held_out=rows,
        folds=len(pairs),
        curve=tuple((step / per_epoch, nll) for step, nll in zip(chosen.steps, nlls, strict=True)),
        temperature=_temperature(problem, chosen, taken) if calibrates(problem) else None,
        search_steps=steps,
        kl_weight=train.kl_weight,
    )
    return replace(history, ended=ended)


def _temperature(problem: Problem, chosen: Tried, taken: int) -> float:
    """Return the temperature of the fit to all rows, as it now stands; as many of its rows are asked as were held out."""
    nlls, rows, among = chosen.nlls(taken), sum(chosen.sizes), len(problem.examples)
    some = problem.examples.subset(torch.linspace(0, among - 1, rows).round().long()) or problem.examples
    own = curve(validator(problem, some)())[ONE]
    return of_all_rows(best_temperature(nlls, rows), 1 - chosen.sizes[0] / among, min(nlls), own)


def under_each_weight(problem: Problem) -> list[Problem]:
    """Return the problem under each weight of the prior that is to be tried, its own first: the next while one leads."""
    train = problem.train
    weighs = any(stack.prior.proper for stack in problem.stacks if stack.role != "fixed")
    others = [weight for weight in train.kl_weights if weight != 1] if weighs else []
    return [problem, *(replace(problem, train=train.replace(kl_weight=w * train.kl_weight)) for w in others)]


def choose(nlls: Sequence[float], rows: int) -> int:
    """Return which weight of the prior is taken: that of the lowest NLL if it is lower than the first's by a standard error.

    Args:
        nlls: of each weight, nats per label, the prior's own first unless it was given up.
        rows: examples that these are means over.
    """
    at = min(range(len(nlls)), key=nlls.__getitem__)
    return at if nlls[0] - nlls[at] > SPREAD / rows**0.5 else 0


def leads(nlls: Sequence[float], rows: int) -> bool:
    """Say whether the last weight that was tried is ahead of the one before by a standard error, so that the next is tried."""
    return len(nlls) < 2 or choose(nlls[-2:], rows) == 1


def labels_each(problem: Problem) -> float:
    """Return how many labels an example has on average; of a loader's, how many those of the first batch have."""
    labels = problem.examples.labels()
    if labels is None:
        labels = next(iter(problem.examples.batches(problem.train.batch_size))).labels
    return 1.0 if labels is None else max(1.0, float(problem.likelihood.label_counts(labels).double().mean()))


def bound(problem: Problem, examples: Examples) -> int:
    """Return the most steps of a run on these examples."""
    return upper_bound(problem.train, _per_epoch(problem, examples))


def _part(problem: Problem, rest: Examples, most: int) -> Problem:
    """Return the problem on some of its rows, at its start.

    A row weighs the prior as it will among all rows: a fold is a sample of what the final fit sees, not a smaller task.
    """
    share = len(rest) / len(problem.examples)
    train = resolved(problem.train, most).replace(kl_weight=problem.train.kl_weight * share)
    return replace(problem, examples=rest, joint_guide=deepcopy(problem.joint_guide), train=train)


def _in_the_race(tried: Sequence[Tried], labels: float) -> list[Tried]:
    """Return the weights that the next fold tries: the best of the others as long as it leads, the first until far behind."""
    first, *others = tried
    best = min(others, key=lambda one: one.lowest, default=first)
    if best.lowest >= first.lowest:
        return [first]
    far_behind = (first.lowest - best.lowest) / labels > 2 * SPREAD / sum(first.sizes) ** 0.5
    return [best] if far_behind else [first, best]


def _per_epoch(problem: Problem, examples: Examples) -> float:
    return problem.train.steps_per_epoch(examples.batch_count(problem.train.batch_size))


def _next_look(step: float, most: int) -> int:
    return next(look for look in looks(most) if look >= min(step, most))


def _reason(nlls: Sequence[float], at: int, bounded: bool) -> Reason:
    if nlls[-1] > nlls[at] + margin(nlls[at]):
        return "later states were worse"
    return "not settled" if bounded else "settled"
