"""Passes of the network over data with some draws of its weights, several folded into the batch axis of one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from bayespeft.adapters.attach import MixedRowsError
from bayespeft.data.batch import Batch
from bayespeft.data.columns import TOKENS
from bayespeft.errors import ConfigError
from bayespeft.prediction.folding import Folding
from bayespeft.prediction.last_block import LastBlock
from bayespeft.prediction.prefix import Prefix
from bayespeft.prediction.rounds import SameRounds
from bayespeft.prediction.trunk import Trunk
from bayespeft.predictive.average import Average, Rows
from bayespeft.utils.processes import shared_out, world_size
from bayespeft.variational.adapted import Adapted


@dataclass(frozen=True)
class Passes:
    """Runs an adapted network with weights that were drawn.

    Attributes:
        adapted: the network, its hooks switched on.
        temperature: divides the logits of each draw.
        shared: each process of torch's process group runs a share of the batches, or of the "draws" of each batch, and all
            get the whole.
    """

    adapted: Adapted
    temperature: float
    shared: bool | Literal["draws"]

    def run(
        self,
        batches: Iterable[Batch],
        values: dict[str, Tensor],
        draws: int,
        folding: Folding,
        average: Average,
        rounds: SameRounds | None = None,
    ) -> None:
        """Add the outputs of some draws, or of the mean, on all batches to an average that knows of these draws.

        Args:
            batches: of the data.
            values: (draws, layers, ...) by stack; empty for the mean.
            draws: how many; 0 for the mean.
            folding: how many go into one pass.
            average: takes the outputs.
            rounds: of which this is one.

        Raises:
            ConfigError: the batches are shared out over processes, and so are the network's weights.
            DataError: labels that the likelihood doesn't know, or batches that are not those of the last round.
            FitError: an output is not a number.
        """
        if self.shared and any(hasattr(parameter, "full_tensor") for parameter in self.adapted.model.parameters()):
            raise ConfigError(
                f"shared={self.shared!r} gives each process passes of its own, and the network is sharded, so that all must "
                "run the same passes: leave it out, and predict the same data in every process."
            )
        trunk, prefix = Trunk(self.adapted), Prefix(self.adapted)

        def read() -> Iterator[Batch]:
            for number, batch in enumerate(batches):
                if rounds:
                    rounds.check(number, batch)
                yield batch

        def outputs(part: tuple[Batch, int, int]) -> Iterator[tuple[Tensor, Rows, int]]:
            batch, first, last = part
            return self._outputs(batch, values, first, last, folding, trunk, prefix)

        whole = max(draws, 1)
        shares = _shares(whole, world_size()) if self.shared == "draws" else [(0, whole)]
        parts = ((batch, *share) for batch in read() for share in shares)
        for found in shared_out(parts, lambda part: list(outputs(part))) if self.shared else map(outputs, parts):
            for part in found:
                average.add(*part)
        trunk.release()
        self.adapted.attachment.bind({})

    def _outputs(
        self,
        batch: Batch,
        values: dict[str, Tensor],
        first: int,
        last: int,
        folding: Folding,
        trunk: Trunk,
        prefix: Prefix,
    ) -> Iterator[tuple[Tensor, Rows, int]]:
        """Yield outputs (some draws, rows, ...) of a batch, on the CPU, its rows, and the number of the first draw.

        Draws are `first`, `first` + 1, ..., `last` - 1; the mean counts as one.
        """
        moved = batch.to(self.adapted.device)
        while first < last:
            before = folding.allocated()
            size = min(folding.size(len(batch), _tokens(batch)), last - first)
            chunk = {name: value[first : first + size] for name, value in values.items()}
            try:
                logits = self._logits(moved, chunk, first, size, trunk, prefix)
            except (MixedRowsError, torch.OutOfMemoryError):
                if size == 1 or not folding.give_up():
                    raise
                continue
            self.adapted.attachment.check_ran()
            self.adapted.check_outputs(logits)
            logits = logits.double() / self.temperature
            outputs = self.adapted.likelihood.among(logits.reshape(size, len(batch), *logits.shape[1:]), moved).cpu()
            folding.learn(before, size)
            yield outputs, self.rows(batch, outputs.shape[-1]), first
            first += size

    def _logits(
        self, batch: Batch, values: dict[str, Tensor], first: int, draws: int, trunk: Trunk, prefix: Prefix
    ) -> Tensor:
        """Run draws (draws, layers, ...) by stack, or the mean, on a batch; (draws * rows, ...) outputs, draw-major.

        `first` is the number of the first of them.
        """

        def bind(some: int, rows: int) -> None:
            folded = {name: value[:some] for name, value in values.items()}
            self.adapted.attachment.bind(self.adapted.joint_guide.folded_weights(folded, rows))

        # What runs less goes first; where that can't be done, the other.
        def from_trunk() -> Tensor | None:
            with LastBlock(self.adapted).at_what_is_read(batch):
                return trunk.logits(batch, draws, bind)

        ways: list[Callable[[], Tensor | None]] = [lambda: prefix.logits(batch, first, draws, bind)]
        if values and (part := trunk.part(batch, draws)) < 1:
            at = 1 if prefix.part(batch, first, draws) < part else 0
            ways.insert(at, from_trunk)
        for shared in ways:
            if (logits := shared()) is not None:
                return logits
        with LastBlock(self.adapted).at_what_is_read(batch):
            bind(draws, len(batch))
            return self.adapted.likelihood.logits(self.adapted.model, batch.repeat(draws))

    def rows(self, batch: Batch, outputs: int) -> Rows:
        """Return the examples of a batch, with their labels on the CPU, checked: a loader's can't be checked beforehand."""
        counted = self.adapted.likelihood.counted(batch)
        rows = Rows(batch.index.cpu(), counted=None if counted is None else counted.cpu())
        if batch.labels is None:
            return rows
        labels = batch.labels.cpu()
        self.adapted.likelihood.check_labels(labels, outputs)
        return replace(rows, labels=self.adapted.likelihood.observed(labels))


def _tokens(batch: Batch) -> int:
    """Return how many tokens each example of a batch has; 1 where there are none."""
    ids = batch.inputs.get(TOKENS) if isinstance(batch.inputs, Mapping) else None
    return ids.shape[1] if isinstance(ids, Tensor) and ids.dim() == 2 else 1


def _shares(draws: int, count: int) -> list[tuple[int, int]]:
    """Return the first draw of each of so many shares, and the first one behind it; shares without a draw are left out."""
    ends = [draws * k // count for k in range(count + 1)]
    return [(first, last) for first, last in pairwise(ends) if first < last]
