"""steps="auto": rows that a fit has not seen decide how long it trains, how much the prior weighs, and how sure it is.

The last is a temperature, or the noise of quantities. Few rows are cross-fitted: see `bayespeft.training.cross_fitting`. Many
rows can spare some: one part is held out, and where that is a small part of all, the state that was best on it is the fit. Data
that can't be read row by row (a loader), and those that a start may have been fitted to already, have nobody to ask but the
training NLL.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bayespeft.data.examples import Examples
from bayespeft.data.repeats import firsts
from bayespeft.errors import ConfigError
from bayespeft.prediction.temperature import best_temperature
from bayespeft.training.cross_fitting import Once, bound, choose, cross_fitted, labels_each, leads, under_each_weight
from bayespeft.training.history import Ended, History
from bayespeft.training.horizon import looks, resolved
from bayespeft.training.lookout import NOISE, CurveLookout, calibrates, curve, validator
from bayespeft.training.noise import learns_noise
from bayespeft.training.problem import Problem
from bayespeft.utils.warned import warn

FOLDS = 3
# Below FEW rows all are held out in turn; from MANY on, what is held out is so little that the fit can do without.
FEW, MANY = 1000, 4000
# Of many rows at least HELD_OUT are held out, and at most MOST_HELD_OUT.
HELD_OUT, MOST_HELD_OUT = 250, 1000
# With fewer rows than this there is nothing to hold out.
LEAST = 12


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
        warn(
            "start= may have been fitted to these very rows, so holding some of them out would tell nothing: training goes on "
            "until its own NLL has settled, and no temperature is fitted. Pass validation= with rows that start= has not seen "
            "(they then decide both), or set steps or epochs.",
        )
        parts = []
    subsets = [(examples.subset(rest), examples.subset(held)) for rest, held in parts]
    if not subsets or any(part is None for pair in subsets for part in pair):
        return _until_settled(problem, once, validation)
    pairs = [(rest, held) for rest, held in subsets if rest is not None and held is not None]
    if len(pairs) == 1 and len(examples) >= MANY:
        return _kept(problem, *pairs[0], once)
    return cross_fitted(problem, pairs, once)


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


def _kept(
    problem: Problem,
    rest: Examples,
    held: Examples,
    once: Once,
) -> History:
    """Fit some rows, judged by others, and keep the state that was best on them."""
    most, labels = bound(problem, rest), labels_each(problem)
    # Of many rows each outweighs the prior, and a run is long.
    tried = under_each_weight(problem) if len(rest) < MANY else [problem]
    found: list[tuple[Problem, History, CurveLookout]] = []
    for one in tried:
        lookout = CurveLookout(
            frozenset(looks(most)),
            most,
            held_out=True,
            labels=labels,
            likelihood=problem.likelihood,
            keeps=True,
            beaten_by=None if not found else (found[-1][2].see(found[-1][1]).best, found[-1][2].lowest(found[-1][1])),
        )
        # One of several starts where all do; one alone needs no copy of what may be a whole network.
        guide = deepcopy(problem.joint_guide) if tried[1:] else problem.joint_guide
        fitted = replace(one, examples=rest, joint_guide=guide, train=resolved(one.train, most))
        found.append((fitted, once(fitted, validate=validator(fitted, held), lookout=lookout), lookout))
        if not leads([look.lowest(history) for _, history, look in found], len(held)):
            break
    at = choose([lookout.lowest(history) for _, history, lookout in found], len(held))
    fitted, history, lookout = found[at]
    if fitted.joint_guide is not problem.joint_guide:
        problem.joint_guide.load_state_dict(fitted.joint_guide.state_dict())
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
        curve=tuple((record.epoch, min(curve(record.validation or {}))) for record in seen),
        temperature=best_temperature(curve(best.validation or {}), len(held)) if calibrates(problem) else None,
        search_steps=sum(other.steps for i, (_, other, _) in enumerate(found) if i != at),
        kl_weight=fitted.train.kl_weight,
    )
    return replace(history, ended=ended)


def _until_settled(
    problem: Problem,
    once: Once,
    validation: Examples | None,
) -> History:
    """Fit all rows until the training NLL has settled."""
    most, labels = bound(problem, problem.examples), labels_each(problem)
    lookout = CurveLookout(frozenset(looks(most)), most, held_out=False, labels=labels, likelihood=problem.likelihood)
    validate = None if validation is None else validator(problem, validation)
    # Nobody chooses along this path, so the prior's weight rises no more slowly than with many rows.
    train = resolved(problem.train, most).replace(kl_pace=0)
    history = once(replace(problem, train=train), validate=validate, lookout=lookout)
    verdict = lookout.see(history)
    return replace(history, ended=Ended(verdict.reason or "not settled", history.steps))
