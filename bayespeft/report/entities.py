"""Entities in sequences of tags: spans by BIO, and how predicted ones compare with those that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayespeft.report.binning import Floats, Ints
from bayespeft.report.clustered import Ratio, fraction
from bayespeft.report.metric import Metric

OUTSIDE = "O"
BEGINS, ENDS = ("B", "S", "U"), ("E", "L", "S", "U")

Span = tuple[int, int, str]
"""First token, the one behind the last, and the type."""


@dataclass(frozen=True, slots=True)
class EntityFigures:
    """How entities of one type fare: one is right if its first token, its last one and its type are.

    Attributes:
        name: of the type.
        n: entities that there are.
        predicted: entities that were predicted.
        precision: share of these that are right; None where there is none.
        recall: share of those that there are that were found; None where there is none.
        f1: 2 TP / (n + predicted).
        probability: mean probability of the predicted entities, the product of those of their tokens' tags: where these keep
            their word and are independent of each other, the precision. None where none was predicted.
    """

    name: str
    n: int
    predicted: int
    precision: Metric | None
    recall: Metric | None
    f1: float
    probability: float | None


@dataclass(frozen=True, slots=True)
class Entities:
    """Figures of all types together, and of each.

    Attributes:
        f1: 2 TP / (n + predicted) of all entities, with the interval over rows; None where there are none.
        precision: of all, as the following.
        recall: share of those that there are that were found.
        by_type: figures of each type, by name.
    """

    f1: Metric | None
    precision: Metric | None
    recall: Metric | None
    by_type: tuple[EntityFigures, ...]


def is_scheme(names: Sequence[str]) -> bool:
    """Whether classes are tags of entities: "O", and others named B-..., I-... (or with E, L, S, U), of both kinds."""
    parts = [name.partition("-") for name in names if name != OUTSIDE]
    known = all(sep and kind and prefix in ("B", "I", "E", "L", "S", "U") for prefix, sep, kind in parts)
    return OUTSIDE in names and bool(parts) and known


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities of a sequence of tags, in order.

    B begins one, and so does a tag inside (I) that follows no tag of its type, as in the CoNLL evaluation script
    (Tjong Kim Sang & De Meulder 2003); where there are tags for last (E, L) or single (S, U) tokens, these end one.
    """
    found: list[Span] = []
    start, kind = 0, ""
    for i, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, own = tag.partition("-")
        if kind and (own != kind or prefix in BEGINS or tags[i - 1].partition("-")[0] in ENDS):
            found.append((start, i, kind))
            kind = ""
        if own and not kind:
            start, kind = i, own
    return found


def told(tags: Sequence[str], words: Sequence[str] | None) -> str:
    """Return what tags say of words, in words: the entities, or the tags where they are none of entities."""
    if not any("-" in tag for tag in tags) and set(tags) != {OUTSIDE}:
        return " ".join(tags)
    found = [f"{kind} {' '.join(words[a:b]) if words else f'{a}..{b - 1}'}" for a, b, kind in spans(tags)]
    return "; ".join(found) or "no entity"


def entities(
    predicted: Ints,
    labels: Ints,
    log_p: Floats,
    owner: Ints,
    n: int,
    names: Sequence[str],
) -> Entities | None:
    """Compare entities; None where classes are no tags of entities. Intervals go by rows; see `clustered`.

    Args:
        predicted: (m,) most probable class of each token.
        labels: (m,) its label.
        log_p: (m,) log-probability of the predicted class.
        owner: (m,) which row it is of, ascending.
        n: rows.
        names: of the classes.
    """
    if not is_scheme(names):
        return None
    of_type: dict[str, Floats] = {}
    probability: Counter[str] = Counter()
    edges = np.searchsorted(owner, np.arange(n + 1))
    for row in range(n):
        here = slice(int(edges[row]), int(edges[row + 1]))
        guessed, true = (spans([names[k] for k in values[here]]) for values in (predicted, labels))
        hits = set(guessed) & set(true)
        for count, found in enumerate((hits, true, guessed)):
            for _, _, kind in found:
                of_type.setdefault(kind, np.zeros((3, n)))[count, row] += 1
        own = log_p[here]
        for first, behind, kind in guessed:
            probability[kind] += float(np.exp(own[first:behind].sum()))  # type: ignore[assignment]
    f1, precision, recall = _shares(sum(of_type.values(), np.zeros((3, n))))
    figures = []
    for kind, counts in sorted(of_type.items()):
        _, there, given = (int(count) for count in counts.sum(axis=1))
        own_f1, own_precision, own_recall = _shares(counts)
        assert own_f1 is not None, "a type is one that is there or was predicted"
        figures.append(
            EntityFigures(
                name=kind,
                n=there,
                predicted=given,
                precision=own_precision,
                recall=own_recall,
                f1=own_f1.value,
                probability=probability[kind] / given if given else None,
            )
        )
    return Entities(f1=f1, precision=precision, recall=recall, by_type=tuple(figures))


def _shares(counts: Floats) -> tuple[Metric | None, Metric | None, Metric | None]:
    """Return F1, precision and recall of entities that are right, there and predicted in each row, (3, n)."""
    right, there, given = counts
    return fraction(Ratio(2 * right, there + given)), fraction(Ratio(right, given)), fraction(Ratio(right, there))
