"""What predictive laws share: what they cost, and what is made of them.

A law of another kind is a `Prediction` and the `bayespeft.predictive.average.Average` that makes it, which say everything there
is to say of it: no list of them is kept anywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from annotated_types import Gt
from torch import Tensor

from bayespeft.data.columns import missing_labels
from bayespeft.errors import ConfigError
from bayespeft.report.base import Report
from bayespeft.report.making import Making
from bayespeft.report.predictions import Predictor
from bayespeft.utils.checks import checked_methods

P = TypeVar("P", bound="Prediction")
Temperature = Annotated[float, Gt(0)]

Use = Literal["ood", "draws_error", "conformal", "decide", "compare"]
"""What may be asked for besides the law and its report; "compare" is a place in the tables of `bayespeft.compare`."""


@dataclass(frozen=True, kw_only=True)
class Details:
    """What a report is asked for besides its figures; laws that have no use for a part leave it.

    Attributes:
        names: of the classes, in the order of their numbers; none where they have none.
        rows: the data as it came, to quote from it; None where it is no rows.
        quotes: most rows of either kind that are quoted.
        others: name -> prediction of other data, which uncertainty is to tell from this.
        unit: draws in a row that belong together, where the error over draws is asked for.
    """

    names: Sequence[str] = ()
    rows: Sequence[Mapping[str, Any]] | None = None
    quotes: int = 0
    others: Mapping[str, Prediction] = field(default_factory=dict)
    unit: int | None = None


FIGURES_ALONE = Details()


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Prediction(ABC):
    """A predictive law for each of n examples, on the CPU, in the order of the data.

    Attributes:
        uses: what may be asked for besides the report; the methods of that name then work.
        keeps_draws: the report, intervals and decisions need what each draw says.
        shown: the tensors whose names and shapes `repr` has.
        labels: (n, ...), or None where the data has none.
        draws: draws averaged; 0 means that nothing was drawn: the posterior mean, a point estimate, or a closed form.
        forward_passes: passes over the data that this took, in units of one pass of the network over every example.
        seconds: wall-clock time.
        backward_passes: passes backwards, in the same unit; a linearised prediction takes one per output, and of few classes
            one less.
        peak_memory_bytes: most memory in use, or None where it can't be told.
        nll_error: Monte Carlo standard error of the mean NLL, nats: how much another seed of the draws would move it. None
            without labels, or where the draws are not independent of each other.
        making: by which posterior and which draws; None where nobody knows.
    """

    uses: ClassVar[frozenset[Use]] = frozenset()
    keeps_draws: ClassVar[bool] = False
    shown: ClassVar[tuple[str, ...]] = ()

    labels: Tensor | None
    draws: int
    forward_passes: int
    seconds: float
    backward_passes: int = 0
    peak_memory_bytes: int | None = None
    nll_error: float | None = None
    making: Making | None = None

    @abstractmethod
    def __len__(self) -> int:
        """n."""

    def __repr__(self) -> str:
        # The tensors themselves would fill pages: their names and shapes say what there is to ask for.
        shapes = (f"{name} {tuple(getattr(self, name).shape)}" for name in self.shown)
        return f"{type(self).__name__}({'; '.join((f'{len(self)} examples, {self.draws} draws', *shapes))})"

    @property
    @abstractmethod
    def log_likelihood(self) -> Tensor | None:
        """(n,) float64, log of the averaged probability (or density) of the labels, nats; None without labels."""

    @abstractmethod
    def report(self, details: Details = FIGURES_ALONE, **facts: Any) -> Report:
        """Return the report of a prediction with labels.

        Args:
            details: what is asked for besides the figures.
            facts: what the prediction does not know of itself: parameters, method, name; seed and resamples of the bootstrap.

        Raises:
            DataError: there are no labels.
        """

    def validation_metrics(self) -> dict[str, float]:
        """Return the few numbers that training shows of a prediction with labels: "nll" (nats per example) and others.

        Raises:
            DataError: there are no labels.
        """
        self._labelled()
        assert self.log_likelihood is not None
        return {"nll": -float(self.log_likelihood.mean())}

    def _labelled(self) -> Tensor:
        """Return the labels, without which nothing can be measured."""
        if self.labels is None:
            raise missing_labels("a report")
        return self.labels

    def _alike(self: P, other: Any) -> P:
        """Return another prediction that is used with this one: it must be of the same kind."""
        if not isinstance(other, type(self)):
            raise ConfigError(
                f"a {type(other).__name__} can't be used with a {type(self).__name__}: predict both alike."
            )
        return other

    def tempered_nll(self, temperature: Temperature) -> float:
        """Return the mean NLL, nats per example, of an average over draws whose outputs are divided by a temperature.

        Raises:
            ConfigError: outputs are no logits, or the draws were not kept.
        """
        raise ConfigError(f"a temperature divides logits of classes, and a {type(self).__name__} has none.")

    def conformal(self, predictor: Predictor, *, alpha: float, **settings: Any) -> Any:
        """Return sets or intervals that hold the label with a probability of at least 1 - alpha, fitted on this prediction.

        Args:
            predictor: predicts other data, with the settings of this prediction.
            alpha: the probability that a label is missed, at most.
            settings: as `Posterior.conformal`.

        Raises:
            ConfigError: there are none for this kind of law.
        """
        raise ConfigError(f"there are no conformal sets of a {type(self).__name__}.")

    def decide(self, validation: Any, *, risk: float, delta: float, **settings: Any) -> Any:
        """Return answers for these examples, and abstentions, by a threshold on certainty that is fitted on validation data.

        Args:
            validation: a labelled prediction of the same kind.
            risk: the largest error rate among answers.
            delta: the largest probability that it is larger all the same.
            settings: as `Posterior.decide`.

        Raises:
            ConfigError: there are none for this kind of law.
        """
        raise ConfigError(f"nothing can be decided with a {type(self).__name__}.")

    @property
    def cost(self) -> dict[str, Any]:
        """What the prediction took, and its error over draws, by the names that a report has for them."""
        names = ("draws", "forward_passes", "backward_passes", "nll_error", "seconds", "peak_memory_bytes")
        return {name: getattr(self, name) for name in names}
