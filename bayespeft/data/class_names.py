"""What a data set calls its classes, and which of a network's classes each of them is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bayespeft.data.columns import Row, label_columns
from bayespeft.errors import DataError


def given(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of classes, or none where nobody named them: LABEL_0, LABEL_1, ... (transformers), or 0, 1, ..."""
    found = tuple(map(str, names))
    return () if all(name in (f"LABEL_{number}", str(number)) for number, name in enumerate(found)) else found


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the different labels of rows in the order in which they number classes that nobody numbered: sorted.

    Labels that are whole numbers are sorted as numbers.
    """
    names = set(map(str.__str__, labels))  # those of NumPy and of enumerations show more than their text
    plain = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if plain else None))


def names_in(data: Any, label: str | None = None) -> tuple[str, ...]:
    """Return what rows with `class_names` or a Hugging Face `Dataset` call their classes; none if they say nothing.

    Args:
        data: any data set, a loader or a subset of one, or several behind each other (`ConcatDataset`).
        label: the column of labels, where it is none of ours.

    Raises:
        DataError: parts of it call their classes different names.
    """
    source = _source(data)
    if isinstance(parts := getattr(source, "datasets", None), (list, tuple)):
        return one_naming(names_in(part, label) for part in parts)
    if isinstance(named := getattr(source, "class_names", None), tuple):
        return given(named)
    features = getattr(source, "features", None)
    if isinstance(features, Mapping):
        for column in label_columns(features) if label is None else (label,):
            feature = features.get(column)
            # A list of classes has the names of its parts.
            names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
            if names:
                return given(names)
    return ()


def one_naming(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what parts of a data set call their classes, those that name them; none where none does.

    Raises:
        DataError: two call them different names, or number them differently.
    """
    found = [names for part in parts if (names := given(part))]
    for names in found:
        if names != found[0]:
            raise DataError(
                f"one part of the data calls its classes {told(found[0])}, and another {told(names)}, so a number means two "
                "classes. Give the rows of one part the numbers of the other before they are put together."
            )
    return found[0] if found else ()


def _source(data: Any) -> Any:
    while not hasattr(data, "features") and hasattr(data, "dataset"):
        data = data.dataset
    return data


def order_of(names: Sequence[str], own: Sequence[str]) -> list[int] | None:
    """Return which of the network's classes each of the data's is, by name; None where both have the same numbers.

    Args:
        names: the data's, in order.
        own: the network's, in order.

    Raises:
        DataError: a class has a name that the network does not know.
    """
    known = {_plain(name): number for number, name in enumerate(own)}
    strange = [name for name in names if _plain(name) not in known]
    if strange or len(known) < len(own) or len({_plain(name) for name in names}) < len(names):
        why = f"{strange[0]!r} is none of the network's" if strange else "two classes have one name"
        raise DataError(
            f"the data calls its classes {told(names)}, and the network {told(own)}: {why}, so it can't be told which class "
            "is which. Rename the data's (data.cast_column('label', ClassLabel(names=[...]))), or set model.config.id2label to "
            "the names that the outputs have; rows of other classes can be predicted without their labels."
        )
    order = [known[_plain(name)] for name in names]
    return None if order == list(range(len(order))) else order


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def told(names: Sequence[str]) -> str:
    """Return numbers and names of classes, the first eight, for messages."""
    shown = ", ".join(f"{number} {name!r}" for number, name in enumerate(names[:8]))
    return f"{shown}, ..." if len(names) > 8 else shown


def renumbered(row: Row, order: Sequence[int]) -> Row:
    """Return a row with its label in another order: class k becomes class order[k]."""
    labels = label_columns(row)
    return {name: _renumbered(value, order) if name in labels else value for name, value in row.items()}


def _renumbered(label: Any, order: Sequence[int]) -> Any:
    """Return a label, or each of a list, in the other order; what is no class, such as None or -1, is found out elsewhere."""
    if isinstance(label, (list, tuple)):
        return [_renumbered(part, order) for part in label]
    try:
        number = int(label)
    except (TypeError, ValueError):
        return label
    return order[number] if 0 <= number < len(order) else label
