"""When a run has gone far enough, told by the run itself: the rules, as functions of what was seen so far.

A curve of held-out NLL over steps, looked at in steps that grow by a fifth, ends where it has not become better for more than
half of the steps that its best point took. Later states were then worse, or the curve had settled; both are said. Without
held-out rows there is only the training NLL, and a run ends where that has settled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bayespeft.config import TrainConfig

# Where nobody knows how long a run will be, warm-ups are fractions of this many steps.
SPAN = 400
# A run that decides its own length may pass over its data this often, however many steps that takes.
MOST_EPOCHS = 6.0
# Held-out rows are looked at after FIRST_LOOK steps, and whenever the steps have grown by GROWTH.
FIRST_LOOK, GROWTH = 20, 1.2
# A later state counts as better if its NLL is lower by BETTER_SHARE of it, kept within BETTER and BETTER_MOST nats per example:
# an NLL of quantities depends on their units, and differences of NLLs don't.
BETTER_SHARE, BETTER, BETTER_MOST = 0.015, 0.003, 0.02
# A run goes on for this many times the steps to its best state, and some steps more.
PATIENCE, GRACE = 1.6, 100
# The training NLL has settled where a doubling of the steps has changed it by less than this, in nats, or this share of it.
SETTLED, SETTLED_SHARE, SETTLED_MOST = 0.01, 0.05, 0.05

Reason = Literal["settled", "later states were worse", "not settled"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a curve says: which step was best, and why the run may end there; `reason` is None while it should go on."""

    best: int
    reason: Reason | None


def looks(most: int) -> list[int]:
    """Return the steps, at most `most`, after which a run is looked at; the last is `most`."""
    found, step = [], float(FIRST_LOOK)
    while step < most:
        found.append(round(step))
        step = max(step + 1, step * GROWTH)
    return [*found, most]


def margin(nll: float) -> float:
    """Return by how many nats an NLL must differ from this one to count."""
    return min(max(BETTER, BETTER_SHARE * nll), BETTER_MOST)


def judge(steps: Sequence[int], nlls: Sequence[float], most: int) -> Verdict:
    """Judge a curve of held-out NLL.

    Args:
        steps: at which it was looked at, rising, at least one.
        nlls: held-out NLL there, nats per example.
        most: the largest number of steps.
    """
    at = 0
    for i, nll in enumerate(nlls):
        if nll < nlls[at] - margin(nlls[at]):
            at = i
    best, last = steps[at], steps[-1]
    if last >= PATIENCE * best + GRACE:
        return Verdict(best, "later states were worse" if nlls[-1] > nlls[at] + margin(nlls[at]) else "settled")
    return Verdict(best, "not settled" if last >= most else None)


def judge_training(steps: Sequence[int], nlls: Sequence[float], most: int) -> Verdict:
    """Judge a curve of the training NLL; arguments as `judge`, NLLs are means over the steps since the look before."""
    last = steps[-1]
    half = next((nll for step, nll in zip(reversed(steps), reversed(nlls), strict=True) if 2 * step <= last), math.inf)
    change = abs(half - nlls[-1])
    if last >= SPAN / 2 and change < min(max(SETTLED, SETTLED_SHARE * abs(nlls[-1])), SETTLED_MOST):
        return Verdict(last, "settled")
    return Verdict(last, "not settled" if last >= most else None)


def resolved(train: TrainConfig, steps: int) -> TrainConfig:
    """Return settings of a run of so many steps whose schedule does not depend on that number."""
    span = SPAN if train.span is None else train.span
    return train.replace(steps=steps, span=span, lr_schedule="constant")


def upper_bound(train: TrainConfig, steps_per_epoch: float) -> int:
    """Return the most steps that a run may take."""
    return max(train.most_steps, math.ceil(MOST_EPOCHS * steps_per_epoch))
