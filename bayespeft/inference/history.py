"""What happened during training: one record for each stretch of steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """Averages since the record before.

    Terms as they are reported add up to the loss only as far as training takes the same: kl and prior stand at the end of
    the stretch; under a randomised prior they are expectations, while the loss holds draws; and guide 'mean_field_reversed'
    trains by KL(prior || q), which is in the loss, while kl is KL(q || prior).

    Attributes:
        step: optimiser steps done.
        epoch: passes over the data done.
        loss: what training minimises, nats per example: nll + kl_weight * (kl + prior) / N, but for the above.
        nll: mean negative log-likelihood under draws of q, nats per example.
        kl: KL(q || prior) of the latents at the end of the stretch, nats.
        prior: -log prior density of the points at the end of the stretch, nats.
        kl_weight: weight of the last two at the end of the stretch.
        seconds: since the start.
        validation: metrics on the validation data, where they were computed at this step.
    """

    step: int
    epoch: float
    loss: float
    nll: float
    kl: float
    prior: float
    kl_weight: float
    seconds: float
    validation: dict[str, float] | None = None


@dataclass
class History:
    """Records in order, and totals.

    Attributes:
        steps: optimiser steps.
        seconds: wall-clock time of training, that of interrupted processes included.
        peak_memory_bytes: most memory used, or None where it can't be told.
        refresh_seconds: of these, the time for choosing factors, decompositions of weights included, and for merging.
    """

    records: list[Record] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
    refresh_seconds: float = 0.0

    def then(self, later: History) -> History:
        """Return this history followed by another: steps, epochs and seconds go on counting."""
        steps, seconds = self.steps, self.seconds
        epoch = self.records[-1].epoch if self.records else 0.0
        moved = [
            replace(r, step=r.step + steps, epoch=r.epoch + epoch, seconds=r.seconds + seconds) for r in later.records
        ]
        peaks = [peak for peak in (self.peak_memory_bytes, later.peak_memory_bytes) if peak is not None]
        return History(
            [*self.records, *moved],
            steps + later.steps,
            seconds + later.seconds,
            max(peaks) if peaks else None,
            self.refresh_seconds + later.refresh_seconds,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> History:
        """Read what `to_dict` wrote."""
        return cls(**{**data, "records": [Record(**record) for record in data["records"]]})
