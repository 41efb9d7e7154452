"""steps="auto": rows that a fit has not seen say how long to train, at which temperature or with which noise to predict.

Few rows are cross-fitted: each fold trains on the others and is judged by its own, so that every row has a say. The curves
of held-out NLL are added up, and the final fit goes as far as where their sum is lowest, by the geometric mean of as many steps
and as many passes. Many rows can spare some: one part is held out, and where that is a small
part of all, the state that was best on it is the fit. Data that can't be read row by row (a loader), and those that a start
may have been fitted to already, have nobody to ask but the training NLL.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from bayespeft.data.examples import Examples
from bayespeft.data.repeats import firsts
from bayespeft.errors import ConfigError
from bayespeft.prediction.temperature import best_temperature
from bayespeft.training.history import Ended, History
from bayespeft.training.horizon import (
    looks,
    margin,
    resolved,
    upper_bound,
)
from bayespeft.training.lookout import NOISE, CurveLookout, calibrates, curve, validator
from bayespeft.training.loop import Lookout
from bayespeft.training.noise import learns_noise, nll_unit
from bayespeft.training.problem import Problem

FOLDS = 3
# Below FEW rows all are held out in turn; from MANY on, what is held out is so little that the fit can do without.
FEW, MANY = 1000, 4000
# Of many rows at least HELD_OUT are held out, and at most MOST_HELD_OUT.
HELD_OUT, MOST_HELD_OUT = 250, 1000
# With fewer rows than this there is nothing to hold out.
LEAST = 12
# Later folds go so many times as far as the best step of the first, which its few rows may have put too early.
FURTHER = 2.0


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


def run_free(
    problem: Problem,
    once: Once,
    validation: Examples | None = None,
) -> History:
    """Fit a problem whose settings leave the number of steps to the run.

    Args:
        problem: with `train.steps` "auto" or "settled".
        once: runs the loop.
        validation: labelled examples beside the training data; they are then what is held out, and all training data train.

    Returns:
        The history of the last run, with `ended`.
    """
    examples = problem.examples
    if problem.train.steps != "settled" and validation is not None:
        return _kept(problem, examples, validation, once)
    parts = [] if problem.train.steps == "settled" else held_out(examples, problem.seed)
    if parts and problem.started:
        warnings.warn(
            "start= may have been fitted to these very rows, so holding some of them out would tell nothing: training goes on "
            "until its own NLL has settled, and no temperature is fitted. Pass validation= with rows that start= has not seen "
            "(they then decide both), or set steps or epochs.",
            stacklevel=2,
        )
        parts = []
    subsets = [(examples.subset(rest), examples.subset(held)) for rest, held in parts]
    if not subsets or any(part is None for pair in subsets for part in pair):
        return _until_settled(problem, once, validation)
    pairs = [(rest, held) for rest, held in subsets if rest is not None and held is not None]
    if len(pairs) == 1 and len(examples) >= MANY:
        return _kept(problem, *pairs[0], once)
    return _cross_fitted(problem, pairs, once)


def check_free(problem: Problem, options: Mapping[str, Any]) -> None:
    """Check that a run may be repeated on parts of the data, and end at any step.

    Args:
        problem: what is to be fitted.
        options: what the guide asks of the loop.

    Raises:
        ConfigError: it may not; the message says why.
    """
    why = None
    if options:
        why = f"guide '{problem.joint_guide.latent.__class__.__name__}' follows the run step by step"
    elif problem.train.layers_at_once is not None:
        why = "layers_at_once divides the steps among the layers"
    elif not problem.started and any(p.adapter.merge_interval(1) is not None for p in problem.attachment.placements):
        why = "the adapter merges into the network's weights while it trains"
    if why:
        raise ConfigError(
            f"steps={problem.train.steps!r} leaves the number of steps to the run, but {why}: set steps or epochs."
        )


def held_out(examples: Examples, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of positions, those to train on and those held out: one for each fold.

    There are none where rows are too few, or can't be read one by one.

    Classes are spread evenly over folds. Rows of the same inputs stay together: one that is trained on would tell the label of
    another that is held out.

    Args:
        examples: all of them.
        seed: of the order.
    """
    n = len(examples)
    if n < LEAST or examples.subset(torch.arange(1)) is None:
        return []
    first = firsts(examples)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    labels = examples.labels()
    if labels is not None and labels.dim() == 1 and not labels.is_floating_point():
        order = order[torch.argsort(labels.cpu()[order], stable=True)]
    order = order[first[order] == order]
    distinct = len(order)
    if distinct < LEAST:
        return []
    if distinct < FEW:
        folds = [order[k::FOLDS] for k in range(FOLDS)]
    else:
        size = min(max(HELD_OUT, distinct // 10), MOST_HELD_OUT)
        folds = [order[torch.linspace(0, distinct - 1, size).round().long()]]
    pairs = []
    for some in folds:
        held = torch.isin(first, some)
        pairs.append(((~held).nonzero().flatten(), held.nonzero().flatten()))
    return pairs


def _cross_fitted(
    problem: Problem,
    pairs: Sequence[tuple[Examples, Examples]],
    once: Once,
) -> History:
    """Find the best step on the folds, then fit all rows as far: see the geometric mean below."""
    most, labels = _bound(problem, pairs[0][0]), _labels_each(problem)
    curves: list[dict[int, tuple[float, ...]]] = []
    sizes: list[int] = []
    noises: list[dict[int, float]] = []
    unit = nll_unit(problem.likelihood)
    steps = 0
    for rest, held in pairs:
        fold = _part(problem, rest, most)
        lookout = CurveLookout(
            frozenset(looks(most)), most, held_out=True, labels=labels, likelihood=problem.likelihood
        )
        history = once(fold, f"fold {len(curves) + 1} of {len(pairs)}", validate=validator(fold, held), lookout=lookout)
        curves.append({r.step: curve(r) for r in history.records if r.validation})
        noises.append({r.step: r.validation.get(NOISE, 0.0) for r in history.records if r.validation})
        sizes.append(len(held))
        steps += history.steps
        if len(curves) == 1:
            most = _next_look(FURTHER * lookout.see(history).best, most)
    common = sorted(set.intersection(*(set(curve) for curve in curves)))
    total = sum(sizes)

    def mean(step: int) -> list[float]:
        weighed = [[size * nll for nll in curve[step]] for size, curve in zip(sizes, curves, strict=True)]
        return [sum(column) / total for column in zip(*weighed, strict=True)]

    table = [mean(step) for step in common]
    pooled = [min(row) for row in table]
    judged = [(nll - unit) / labels for nll in pooled]
    # The lowest point, however little it is below others: before a network has learned its task the NLL falls steeply, and
    # behind that it rises slowly where a temperature is fitted, so that too early costs more than too late.
    at = judged.index(min(judged))
    best = common[at]
    per_epoch = _per_epoch(problem, pairs[0][0])
    # Logits grow by the step, rows are memorised by the pass: as many steps would be too few, as many passes too many.
    final = max(1, round(best * (_per_epoch(problem, problem.examples) / per_epoch) ** 0.5))
    final = min(final, _bound(problem, problem.examples))
    if learns_noise(problem.likelihood):
        squares = sum(size * own[best] ** 2 for size, own in zip(sizes, noises, strict=True))
        problem.likelihood = problem.likelihood.replace(noise=(squares / total) ** 0.5)
    history = once(replace(problem, train=resolved(problem.train, final)), "all rows", validate=None, lookout=None)
    ended = Ended(
        reason=_reason(judged, at, common[-1] >= _bound(problem, pairs[0][0])),
        steps=final,
        held_out=total,
        folds=len(pairs),
        curve=tuple((step / per_epoch, nll) for step, nll in zip(common, pooled, strict=True)),
        temperature=best_temperature(table[at], total) if calibrates(problem) else None,
        search_steps=steps,
    )
    return replace(history, ended=ended)


def _kept(
    problem: Problem,
    rest: Examples,
    held: Examples,
    once: Once,
) -> History:
    """Fit some rows, judged by others, and keep the state that was best on them."""
    most, labels = _bound(problem, rest), _labels_each(problem)
    part = replace(problem, examples=rest, train=resolved(problem.train, most))
    lookout = CurveLookout(
        frozenset(looks(most)), most, held_out=True, labels=labels, likelihood=problem.likelihood, keeps=True
    )
    history = once(part, validate=validator(part, held), lookout=lookout)
    seen = [record for record in history.records if record.validation]
    verdict = lookout.see(history)
    best = next(record for record in seen if record.step == verdict.best)
    if learns_noise(problem.likelihood):
        problem.likelihood = problem.likelihood.replace(noise=(best.validation or {})[NOISE])
    ended = Ended(
        reason=verdict.reason or "not settled",
        steps=verdict.best,
        held_out=len(held),
        folds=1,
        curve=tuple((record.epoch, min(curve(record))) for record in seen),
        temperature=best_temperature(curve(best), len(held)) if calibrates(problem) else None,
    )
    return replace(history, ended=ended)


def _until_settled(
    problem: Problem,
    once: Once,
    validation: Examples | None,
) -> History:
    """Fit all rows until the training NLL has settled."""
    most, labels = _bound(problem, problem.examples), _labels_each(problem)
    lookout = CurveLookout(frozenset(looks(most)), most, held_out=False, labels=labels, likelihood=problem.likelihood)
    validate = None if validation is None else validator(problem, validation)
    # Nobody chooses along this path, so the prior's weight rises no more slowly than with many rows.
    train = resolved(problem.train, most).replace(kl_pace=0)
    history = once(replace(problem, train=train), validate=validate, lookout=lookout)
    verdict = lookout.see(history)
    return replace(history, ended=Ended(verdict.reason or "not settled", history.steps))


def _part(problem: Problem, rest: Examples, most: int) -> Problem:
    """Return the problem on some of its rows, at its start.

    A row weighs the prior as it will among all rows: a fold is a sample of what the final fit sees, not a smaller task.
    """
    share = len(rest) / len(problem.examples)
    train = resolved(problem.train, most).replace(kl_weight=problem.train.kl_weight * share)
    return replace(problem, examples=rest, joint_guide=deepcopy(problem.joint_guide), train=train)


def _labels_each(problem: Problem) -> float:
    """Return how many labels an example has on average; of a loader's, how many those of the first batch have."""
    labels = problem.examples.labels()
    if labels is None:
        labels = next(iter(problem.examples.batches(problem.train.batch_size))).labels
    return 1.0 if labels is None else max(1.0, float(problem.likelihood.label_counts(labels).double().mean()))


def _per_epoch(problem: Problem, examples: Examples) -> float:
    return problem.train.steps_per_epoch(examples.batch_count(problem.train.batch_size))


def _bound(problem: Problem, examples: Examples) -> int:
    return upper_bound(problem.train, _per_epoch(problem, examples))


def _next_look(step: float, most: int) -> int:
    return next(look for look in looks(most) if look >= min(step, most))


def _reason(nlls: Sequence[float], at: int, bounded: bool) -> str:
    if nlls[-1] > nlls[at] + margin(nlls[at]):
        return "later states were worse"
    return "not settled" if bounded else "settled"
