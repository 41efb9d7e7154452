"""What a data set calls its classes, and which of a network's classes each of them is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader

from bayespeft.data.columns import label_columns
from bayespeft.errors import DataError


def given(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of classes, or none where nobody named them: LABEL_0, LABEL_1, ... (transformers), or 0, 1, ..."""
    found = tuple(map(str, names))
    return () if all(name in (f"LABEL_{number}", str(number)) for number, name in enumerate(found)) else found


def names_in(data: Any) -> tuple[str, ...]:
    """Return what a Hugging Face `Dataset`, or one behind a loader or a subset, calls its classes; none if it says nothing."""
    features = getattr(_source(data), "features", None)
    if isinstance(features, Mapping):
        for column in label_columns(features):
            feature = features.get(column)
            # A list of classes has the names of its parts.
            names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
            if names:
                return given(names)
    return ()


def aligned(data: Any, own: Sequence[str]) -> Any:
    """Return data whose labels number the classes as a network does; the data itself where they do already.

    Args:
        data: in any form.
        own: the network's names of its classes, in order; none where it has none.

    Raises:
        DataError: a class has a name that the network does not know, or a loader numbers the classes in another order.
    """
    names = names_in(data)
    order = _order(names, own) if names and own else None
    if order is None:
        return data
    if isinstance(data, DataLoader):
        raise DataError(
            f"the loader's data set numbers its classes {_told(names)}, and the network {_told(own)}: pass the data set "
            "itself, or align it first with data.align_labels_with_mapping(model.config.label2id, 'label')."
        )
    # Indices for data sets without columns of their own: iteration over many of them never ends.
    rows = iter(data) if hasattr(data, "column_names") else (data[i] for i in range(len(data)))
    return [
        {name: _renumbered(value, order) if name in label_columns(row) else value for name, value in row.items()}
        for row in rows
    ]


def _source(data: Any) -> Any:
    while not hasattr(data, "features") and hasattr(data, "dataset"):
        data = data.dataset
    return data


def _order(names: Sequence[str], own: Sequence[str]) -> list[int] | None:
    """Return which of the network's classes each of the data's is, by name; None where both have the same numbers."""
    known = {_plain(name): number for number, name in enumerate(own)}
    strange = [name for name in names if _plain(name) not in known]
    if strange or len(known) < len(own) or len({_plain(name) for name in names}) < len(names):
        why = f"{strange[0]!r} is none of the network's" if strange else "two classes have one name"
        raise DataError(
            f"the data calls its classes {_told(names)}, and the network {_told(own)}: {why}, so it can't be told which class "
            "is which. Rename the data's (data.cast_column('label', ClassLabel(names=[...]))), or set model.config.id2label to "
            "the names that the outputs have."
        )
    order = [known[_plain(name)] for name in names]
    return None if order == list(range(len(order))) else order


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _told(names: Sequence[str]) -> str:
    shown = ", ".join(f"{number} {name!r}" for number, name in enumerate(names[:8]))
    return f"{shown}, ..." if len(names) > 8 else shown


def _renumbered(label: Any, order: Sequence[int]) -> Any:
    """Return a label, or each of a list, in the other order; what is no class, such as None or -1, is found out elsewhere."""
    if isinstance(label, (list, tuple)):
        return [_renumbered(part, order) for part in label]
    try:
        number = int(label)
    except (TypeError, ValueError):
        return label
    return order[number] if 0 <= number < len(order) else label
