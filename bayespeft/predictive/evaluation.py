"""`evaluate`: probabilities that anything has predicted, as good as those of a posterior for reports, sets and decisions.

evaluate(probs, labels).report().to_html("report.html")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from bayespeft.data.arrays import check_rows_alike
from bayespeft.errors import ConfigError, DataError
from bayespeft.predictive.average import Cost, Rows
from bayespeft.predictive.base import Details
from bayespeft.predictive.categorical import CategoricalAverage, Predictive
from bayespeft.predictive.class_labels import class_numbers, column_names, reordered
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.conformal import Conformal, ConformalMethod, Per
from bayespeft.report.decision import Decision, decide
from bayespeft.report.metrics.conformal import check_alpha, check_method
from bayespeft.report.metrics.examples import SUM_TOLERANCE
from bayespeft.report.selection import check_guarantee
from bayespeft.utils.annotations import ELSEWHERE, Resamples, Seed
from bayespeft.utils.checks import checked, checked_methods


@dataclass(frozen=True, kw_only=True, repr=False)
class Given(Predictive):
    """Classes' probabilities of whose making nothing is known but the number of draws."""

    @property
    def cost(self) -> dict[str, Any]:
        """As the base, without what nobody has measured."""
        return {name: value for name, value in super().cost.items() if name in ("draws", "nll_error")}


@checked_methods
@dataclass(frozen=True)
class Evaluation:
    """Probabilities of n examples and K classes, and what can be made of them; made by `bayespeft.evaluate`.

    Attributes:
        prediction: the averaged probabilities, their entropy and mutual information.
        class_names: what classes are called, in the order of the columns; none where they have no names.
        rows: the examples as they were, to quote from; None where there are none.
        logits: whether numbers that are passed later are logits, as these were.
    """

    prediction: Predictive
    class_names: tuple[str, ...] = ()
    rows: Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)
    logits: bool = False

    def __len__(self) -> int:
        return len(self.prediction)

    def report(
        self,
        *,
        name: str = "",
        method: str = "",
        ood: Mapping[str, Any] | None = None,
        draws_error: bool = False,
        quotes: int = 10,
        resamples: Resamples = 1000,
        seed: Seed = 0,
    ) -> CalibrationReport:
        """Say how good and how calibrated the probabilities are; `to_html`, `to_json`, `to_csv` and `plot` write it.

        Args:
            name: a title for the data.
            method: a title for what predicted.
            ood: name -> probabilities of other data: how does uncertainty tell it from this?
            draws_error: add the error of figures over draws; these must have been passed.
            quotes: how many of the most confident mistakes, and of the least certain rows, are quoted.
            resamples: bootstrap resamples for the intervals.
            seed: of the bootstrap.

        Raises:
            DataError: there are no labels. ConfigError: `draws_error` without draws; or other data's classes have other names.
        """
        if draws_error and self.prediction.draw_log_probs is None:
            raise ConfigError(
                "draws_error=True needs what each draw says: pass probabilities (draws, n, K) to evaluate."
            )
        details = Details(
            names=self.class_names,
            rows=self.rows,
            quotes=quotes,
            others={title: self.predict(other) for title, other in (ood or {}).items()},
            unit=1 if draws_error else None,
        )
        return self.prediction.report(details, name=name, method=method, resamples=resamples, seed=seed)

    def conformal(
        self,
        alpha: Annotated[float, ELSEWHERE] = 0.1,
        *,
        method: Annotated[ConformalMethod, ELSEWHERE] = "lac",
        per: Per = "all",
        seed: Seed = 0,
    ) -> Conformal:
        """Fit sets of classes on these examples, which are validation data: `.sets(probs)`, `.report(evaluation)`.

        Other probabilities whose classes have names are put into the order of these by name.

        Args:
            alpha, method, per, seed: as for `Posterior.conformal`.

        Raises:
            DataError: there are no labels. ConfigError: alpha, method or per can't be used; or later, names of classes differ.
        """
        check_alpha(alpha)
        check_method(method)
        return Conformal.fit(self.prediction, self, alpha=alpha, method=method, per=per, seed=seed)

    def decide(
        self,
        validation: Any,
        risk: Annotated[float, ELSEWHERE] = 0.05,
        *,
        delta: Annotated[float, ELSEWHERE] = 0.05,
        per: Per = "all",
        seed: Seed = 0,
    ) -> Decision:
        """Answer these examples or abstain: the rule's error rate on new data is at most `risk`; see `Posterior.decide`.

        Args:
            validation: labelled probabilities of the same law and the same making: what `evaluate` returned.
            risk, delta, per, seed: as for `Posterior.decide`.

        Raises:
            DataError: validation has no labels. ConfigError: risk, delta or per is out of range, or draws, classes or their
                names differ.
        """
        check_guarantee(risk, delta)
        found = decide(self.prediction, self.predict(validation), risk=risk, delta=delta, per=per, seed=seed)
        return replace(found, class_names=self.class_names)

    def predict(self, data: Any) -> Predictive:
        """Return other probabilities, in any form, as a prediction, with classes in our order where both sides name them."""
        if isinstance(data, Predictive):
            return data
        found = data if isinstance(data, Evaluation) else evaluate(data, logits=self.logits)
        return reordered(found.prediction, found.class_names, self.class_names)


@checked
def evaluate(
    probs: Any,
    labels: Any = None,
    *,
    logits: bool = False,
    class_names: Sequence[str | int] = (),
    rows: Annotated[Sequence[Mapping[str, Any]] | None, ELSEWHERE] = None,
) -> Evaluation:
    """Take probabilities of classes, whatever has predicted them, for reports, conformal sets and decisions.

    Args:
        probs: (n, K) probabilities, or (draws, n, K) of single draws or members, which are averaged as probabilities: an array
            of NumPy, a tensor, a data frame (whose columns name the classes), or lists.
        labels: (n,) names among those of the classes, or numbers; None where nobody knows them. Numbers are names too where
            any name is a number, else positions of columns from 0 on.
        logits: `probs` are logits; of several draws each has its softmax.
        class_names: what classes are called, in the order of the columns.
        rows: the examples, one mapping each, to quote from in reports: `text`, or `question` and `choices`, is read.

    Raises:
        DataError: a shape is another one; a number is NaN; probabilities are negative, or do not sum to 1; labels are
            no classes, or in another order than the probabilities, as far as indices of pandas tell.
    """
    names = tuple(map(str, class_names)) or column_names(probs)
    log_probs = _log_probs(_tensor(probs, "probs"), logits)
    draws, n, classes = log_probs.shape if log_probs.dim() == 3 else (0, *log_probs.shape)
    if names and len(names) != classes:
        raise DataError(
            f"there are {len(names)} class_names and {classes} columns of probabilities: one name for each."
        )
    quoted = None if rows is None else _rows(rows, n)
    check_rows_alike("probs", probs, "labels", labels)
    known = None if labels is None else class_numbers(labels, names, n, classes)
    average = CategoricalAverage(n, keep=draws > 1)
    average.begin(max(draws, 1))
    average.add(log_probs.reshape(max(draws, 1), n, classes), Rows(torch.arange(n), known), 0)
    found = average.result(Cost(draws, 0, 0.0), unit=1)
    return Evaluation(Given(**{part.name: getattr(found, part.name) for part in fields(found)}), names, quoted, logits)


def _rows(rows: Any, n: int) -> Sequence[Mapping[str, Any]]:
    """Return rows to quote from, one for each example."""
    try:
        found = [rows[i] for i in range(len(rows))]
    except (TypeError, KeyError, IndexError, AttributeError):
        found = []
    if len(found) != n or not all(isinstance(row, Mapping) for row in found):
        raise DataError(
            f"rows={type(rows).__name__} is no list of {n} mappings: one row for each row of probabilities."
        )
    return found


def _tensor(values: Any, name: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"its elements are {array.dtype}")
        return torch.from_numpy(np.array(array))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} can't be read as an array of numbers: {error}.") from None


def _log_probs(values: Tensor, logits: bool) -> Tensor:
    """Return log-probabilities, float64, as checked as those of a network are."""
    if values.dim() not in (2, 3) or 0 in values.shape:
        hint = " Of two classes pass both columns: numpy.stack([1 - p, p], 1)." if values.dim() == 1 else ""
        raise DataError(
            f"probs has shape {tuple(values.shape)}; (examples, classes), or (draws, examples, classes), is expected.{hint}"
        )
    if values.shape[-1] < 2:
        raise DataError("probs has one column: pass one for each class, numpy.concatenate([1 - p, p], 1) of two.")
    if not values.dtype.is_floating_point and logits is False and bool((values > 1).any()):
        raise DataError("probs are whole numbers above 1: pass probabilities, or logits=True.")
    # Numbers that were rounded in half precision sum to 1 no more closely than that.
    rounding = torch.finfo(values.dtype).eps if values.dtype.is_floating_point else 0.0
    values = values.double()
    wrong = ~torch.isfinite(values)
    if wrong.any():
        raise DataError(f"probs is {float(values[wrong][0])} {_place(wrong)}: pass finite numbers.")
    if logits:
        return torch.log_softmax(values, -1)
    if (values < 0).any():
        raise DataError(
            f"probs is {float(values[values < 0][0]):.6g} {_place(values < 0)}, which is no probability: pass logits=True if "
            "these are logits, or numpy.exp of them if they are log-probabilities."
        )
    sums = values.sum(-1)
    off = (sums - 1).abs() > max(SUM_TOLERANCE, rounding)
    if off.any():
        raise DataError(
            f"probabilities sum to {float(sums[off][0]):.6g}, not 1, {_place(off[..., None])}: pass logits=True if these are "
            "logits, and one column for each class."
        )
    return torch.log(values / sums[..., None])


def _place(wrong: Tensor) -> str:
    """Say where the first of some numbers is."""
    first = wrong.nonzero()[0].tolist()
    return f"in row {first[-2]}" + (f" of draw {first[0]}" if len(first) == 3 else "")
