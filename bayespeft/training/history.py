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
        nll: mean negative log-likelihood under q, nats per example: of the draws of the steps, or of a guide that draws nothing
            its bound.
        kl: KL(q || prior) of the latents at the end of the stretch, nats.
        prior: -log prior density of the points at the end of the stretch, less its least: what keeps points near their
            centers, nats. Without normalising constants, which go by the unit of a weight, neither this nor the loss says
            more than it can.
        kl_weight: weight of the last two at the end of the stretch.
        seconds: since the start.
        validation: metrics on the validation data, where they were computed at this step.
        kl_error: standard error of `kl` in nats, where it is a Monte Carlo estimate; None where it has a formula.
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
    kl_error: float | None = None

    @property
    def kl_text(self) -> str:
        """The KL as it is shown, with its standard error where there is one."""
        return f"{self.kl:.1f}" + ("" if self.kl_error is None else f" ± {self.kl_error:.1f}")


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a run that decides its length took so many steps, and what it learned on the way.

    Attributes:
        reason: "settled", "later states were worse", or "not settled" where the upper bound came first.
        steps: optimiser steps of the state that is kept.
        held_out: examples by which that was chosen; 0 where there were none, and the training NLL decided.
        folds: fits of which each held out a part of these; 0 where the state that was chosen is itself kept.
        curve: pairs (passes over the data, NLL of the examples held out, nats each, at the best temperature where one is
            fitted).
        temperature: fitted to the examples held out, or None.
        search_steps: optimiser steps of all fits whose state is not kept.
        kl_weight: the weight of the prior that was chosen; None where nobody was asked.
    """

    reason: str
    steps: int
    held_out: int = 0
    folds: int = 0
    curve: tuple[tuple[float, float], ...] = ()
    temperature: float | None = None
    search_steps: int = 0
    kl_weight: float | None = None

    def __str__(self) -> str:
        words = {
            "settled": f"settled after {self.steps} steps",
            "later states were worse": f"stopped at {self.steps} steps, later states were worse",
        }
        by = f" on {self.held_out} examples held out" if self.held_out else ""
        by += f" in {self.folds} folds" if self.folds > 1 else ""
        by += f", the prior at {self.kl_weight:g} of its weight" if self.kl_weight not in (None, 1.0) else ""
        return words.get(self.reason, f"not settled after {self.steps} steps") + by


@dataclass
class History:
    """Records in order, and totals.

    Attributes:
        steps: optimiser steps.
        seconds: wall-clock time of training, that of interrupted processes included.
        peak_memory_bytes: most memory used, or None where it can't be told.
        refresh_seconds: of these, the time for choosing factors, decompositions of weights included, and for merging.
        ended: why the run ended where it did, if it was free to choose.
    """

    records: list[Record] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
    refresh_seconds: float = 0.0
    ended: Ended | None = None

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
            later.ended or self.ended,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> History:
        """Read what `to_dict` wrote."""
        records = [Record(**record) for record in data["records"]]
        ended = data.get("ended") and Ended(
            **{**data["ended"], "curve": tuple((epoch, nll) for epoch, nll in data["ended"]["curve"])}
        )
        return cls(**{**data, "records": records, "ended": ended})
