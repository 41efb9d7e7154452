"""Learning rate and KL weight over the steps of a run."""

from __future__ import annotations

import math

from bayespeft.config import TrainConfig

# However few the rows, the prior's weight rises over this multiple of the span at most: nothing would hold them otherwise.
SLOWEST = 1.5


def lr_factor(train: TrainConfig, step: int, total: int) -> float:
    """Return the learning rate's factor at a step counted from 0: linear up over the warm-up, then as `lr_schedule` says."""
    rise = train.warmup * (train.span or total)
    if step + 1 < rise:
        return (step + 1) / rise
    if train.lr_schedule == "constant":
        return 1.0
    return min(1.0, (total - step) / (total - rise)) if total > rise else 1.0


def blob_cycle(examples: int, batch: int) -> int:
    """Return M, the length in steps of a cycle of official BLoB's reweighting: 100 N^(pi / gamma) / batch, with gamma = 8."""
    return max(1, int(100 * examples ** (math.pi / 8.0) / batch))


def blob_weight(step: int, cycle: int) -> float:
    """Return pi_i = 2^i / (2^(M + 1) - 1) at a step counted from 0, i = 1..M (BLoB, arXiv 2406.11675, section 3).

    Each cycle begins with the smallest weight and ends with the largest. Computed as 2^(i - M - 1) / (1 - 2^(-M - 1)): 2^M
    overflows.
    """
    i = step % cycle + 1
    return 2.0 ** (i - cycle - 1) / (1 - 2.0 ** (-cycle - 1))


def kl_weight(train: TrainConfig, step: int, total: int, examples: int) -> float:
    """Return the weight of KL / N in the loss at a step counted from 0.

    BLoB adds pi_i * KL to a mean NLL, that is a weight of N pi_i on KL / N.
    """
    if train.kl_schedule == "blob":
        return train.kl_weight * examples * blob_weight(step, blob_cycle(examples, train.batch_size * train.accumulate))
    span = train.span or total
    rise = max(train.kl_warmup * span, min(train.kl_pace * train.kl_weight / examples, SLOWEST * span))
    return train.kl_weight * min(1.0, (step + 1) / rise if rise > 0 else 1.0)
