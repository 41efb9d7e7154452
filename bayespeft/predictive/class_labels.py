"""Labels and columns of probabilities that come from elsewhere: which class each is, by one rule.

Texts are names of classes. Numbers are names too where any name is a number, such as those of scikit-learn's `classes_`;
else they are positions, 0 for the first column. So how labels are read never depends on which of them occur.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bayespeft.data.class_names import given
from bayespeft.errors import ConfigError, DataError
from bayespeft.predictive.categorical import Predictive
from bayespeft.report.metrics.examples import validate


def column_names(probs: Any) -> tuple[str, ...]:
    """Return what a data frame calls its columns; none of what is no data frame.

    Raises:
        DataError: a column is named by something else than a text or a whole number.
    """
    columns = tuple(getattr(probs, "columns", ())) if hasattr(probs, "to_numpy") else ()
    strange = [name for name in columns if isinstance(name, bool) or not isinstance(name, (str, int, np.integer))]
    if strange:
        raise DataError(
            f"a column of probabilities is named {strange[0]!r}, which is no name of a class: name columns by texts or whole "
            "numbers, or pass class_names="
        )
    return tuple(map(str, columns))


def class_numbers(labels: Any, names: Sequence[str], n: int, classes: int) -> Tensor:
    """Return labels as class numbers, (n,) int64.

    Args:
        labels: (n,) texts or numbers, in any form.
        names: of the classes, in their order; none where they have none.
        n: examples.
        classes: K.

    Raises:
        DataError: a label is missing or is no class, or it can't be told which, or they are no n labels.
    """
    array = _array(labels)
    if array.ndim == 1 and (array.dtype.kind in "OUS" or names):
        array = _numbered([_plain(value) for value in array.tolist()], names)
    elif array.ndim == 1 and array.dtype.kind == "f":
        _check_known(array.tolist())
    # The probabilities are checked by themselves; here labels are, by the one place that does.
    uniform = np.full((n, classes), -np.log(classes))
    return torch.from_numpy(validate(uniform, array)[1])


def reordered(prediction: Predictive, names: Sequence[str], own: Sequence[str]) -> Predictive:
    """Return a prediction with its classes in our order, by name; as it is where either side has no names.

    Args:
        prediction: of classes of these names, in this order.
        names: of its classes.
        own: ours.

    Raises:
        ConfigError: the names are others than ours.
    """
    # Columns 0, 1, ... of a data frame that nobody named are no names, unless the other side's names are numbers too.
    bare = any(
        not given(one) and all(_value(name) is None for name in other) for one, other in ((names, own), (own, names))
    )
    if not names or not own or tuple(names) == tuple(own) or bare:
        return prediction
    if sorted(names) != sorted(own) or len(set(own)) < len(own):
        raise ConfigError(
            f"the classes are {_told(names)} of one side and {_told(own)} of the other: give both the same names, each once, "
            "or pass bare arrays whose columns are in the same order."
        )
    order = [list(names).index(name) for name in own]
    place = torch.tensor([list(own).index(name) for name in names])
    draws, labels = prediction.draw_log_probs, prediction.labels
    return replace(
        prediction,
        log_probs=prediction.log_probs[:, order],
        labels=None if labels is None else place[labels],
        draw_log_probs=None if draws is None else draws[..., order],
    )


def _array(labels: Any) -> npt.NDArray[Any]:
    try:
        if isinstance(labels, Tensor):
            found = labels.detach().cpu()
            # NumPy has no bfloat16.
            return (found.float() if found.dtype == torch.bfloat16 else found).numpy()
        return np.asarray(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"labels can't be read as an array ({error}): pass one number or name for each row.") from None


def _numbered(values: Sequence[Any], names: Sequence[str]) -> npt.NDArray[Any]:
    """Return numbers of classes; those of labels that are positions are not yet checked."""
    _check_known(values)
    known: dict[Any, int] = {name: k for k, name in enumerate(names)}
    if numbers := all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        known = {value: k for k, name in enumerate(names) if (value := _value(name)) is not None}
        if not known:
            return np.array(values)
    else:
        values = [str(value) for value in values]
    distinct = len(names) if not numbers else sum(_value(name) is not None for name in names)
    if len(known) < distinct:
        raise DataError(
            f"two classes have one name ({_told(names)}), so it can't be told which a label is: rename one."
        )
    strange = next((value for value in values if value not in known), None)
    if strange is not None:
        advice = ""
        if numbers:
            advice = (
                " Where names are numbers, labels that are numbers are names, not positions: write labels as the classes are "
                "called, or name the classes 0, 1, ... in the order of the columns."
            )
        raise DataError(f"label {strange!r} is none of the classes, whose names are {_told(names)}.{advice}")
    return np.array([known[value] for value in values], dtype=np.int64)


def _check_known(values: Sequence[Any]) -> None:
    missing = [row for row, value in enumerate(values) if _is_missing(value)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if missing[1:] else ""
        raise DataError(
            f"row {missing[0]}{more} has no label: leave such rows out, with their probabilities, or pass labels=None."
        )


def _is_missing(value: Any) -> bool:
    """Whether it is None, NaN, or what pandas has in their place, which equals nothing."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return True


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _value(name: str) -> float | None:
    """Return the number that a name is; None where it is none."""
    return float(name) if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", name) else None


def _told(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "unknown: pass class_names="
