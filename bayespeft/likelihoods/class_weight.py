"""Class weights: how often each row counts in the objective, by its class.

The data term is sum_n w(y_n) log p(y_n | x_n), a likelihood in which each class has a power of its own: a row of weight 2
counts as two such rows, so the posterior is as sure as sum_n w(y_n) rows make it. What it learns is the law of a population in
which class k is w_k times as frequent, p_w(y | x) proportional to w_y p(y | x) (Elkan 2001, IJCAI, section 2). Dividing by w_y
gives p(y | x) back: the correction for other priors of classes (Saerens, Latinne and Decaestecker 2002, Neural Computation
14(1), equation 2.4), which King and Zeng 2001, Political Analysis 9(2), call prior correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor

from bayespeft.data.class_names import given
from bayespeft.data.class_names import told as in_words
from bayespeft.data.examples import Examples
from bayespeft.data.sample import Sample
from bayespeft.errors import ConfigError
from bayespeft.utils.warned import warn

# As scikit-learn's `class_weight`, or as torch's `weight`: one number for each class in order.
ClassWeight = Literal["balanced"] | Mapping[str | int, float] | Sequence[float]

# Rows may count as so many times their number before a warning says what that means.
MORE = 1.05


def class_counts(examples: Examples, classes: int) -> tuple[int, ...]:
    """Return how many training rows each class has; none where only some of the rows are at hand.

    A loader's are counted in one pass over it, as its sampler gives them.
    """
    if isinstance(examples, Sample):
        examples, size = examples.examples, len(examples)
        if len(examples) != size:
            return ()
    labels = examples.labels()
    parts = [batch.labels for batch in examples.batches(256)] if labels is None else [labels]
    counts = torch.zeros(classes, dtype=torch.long)
    for part in parts:
        if part is not None:
            counts += torch.bincount(part.cpu(), minlength=classes)
    return tuple(counts.tolist())


def weights_of(
    wanted: ClassWeight, names: Sequence[str], counts: Sequence[int], classes: int, by_name: bool = False
) -> tuple[float, ...]:
    """Return the weight of each class.

    Args:
        wanted: "balanced", N / (K n_k) with K the classes that have rows, as in scikit-learn; weights by name or number of
            the class, 1 for those that are left out; or one for each class.
        names: of the classes; none where they have none.
        counts: n_k; none where they are not known.
        classes: how many there are.
        by_name: numbers in rows are names of classes.

    Raises:
        ConfigError: a class is unknown or named twice, there is not one weight for each, no row would count, or "balanced" is
            asked for and the rows are not at hand.
    """
    if isinstance(wanted, str):
        if not counts:
            raise ConfigError(
                "class_weight='balanced' needs the labels of all rows, and here is a sample of them: pass the weight of each "
                "class, N / (K n_k) for n_k of N rows and K classes."
            )
        present = sum(count > 0 for count in counts)
        return tuple(sum(counts) / (present * count) if count else 1.0 for count in counts)
    if isinstance(wanted, Mapping):
        found: dict[int, float] = {}
        for key, weight in wanted.items():
            number = _number(key, names, classes, by_name)
            if number in found:
                raise ConfigError(f"class_weight names class {key!r} twice, by name and by number: give it one weight.")
            found[number] = float(weight)
        weights = tuple(found.get(k, 1.0) for k in range(classes))
    else:
        weights = tuple(map(float, wanted))
    check_length(weights, classes)
    if counts and not any(weight * count for weight, count in zip(weights, counts, strict=True)):
        raise ConfigError("class_weight is 0 for every class that has rows: give those that count a positive weight.")
    return weights


def check_numbering(wanted: ClassWeight, of_data: Sequence[str], names: Sequence[str]) -> None:
    """Check that weights are given by name where training data and network number the classes differently.

    Args:
        wanted: as in `weights_of`.
        of_data: names of the classes in the data's order, where it is another one; else none.
        names: in the network's.

    Raises:
        ConfigError: they are given by number or in an order.
    """
    if of_data and not isinstance(wanted, str) and not (isinstance(wanted, Mapping) and set(wanted) <= set(names)):
        raise ConfigError(
            f"the data numbers its classes {in_words(of_data)}, and the network {in_words(names)}, so that weights by number "
            f"may be either's: give them by name, as in class_weight={{{names[0]!r}: 1.0, ...}}."
        )


def check_length(weights: Sequence[float], classes: int) -> None:
    """Check that there is a weight for each class, and one that is above 0.

    Raises:
        ConfigError: that is not so.
    """
    if len(weights) != classes:
        raise ConfigError(f"class_weight has {len(weights)} weights for {classes} classes: one for each is needed.")
    if not any(weights):
        raise ConfigError("class_weight is 0 for every class: give those that count a positive weight.")


def _number(key: str | int, names: Sequence[str], classes: int, by_name: bool) -> int:
    """Return which class is meant."""
    named = names if given(names) else ()
    numbers = any(name.isdecimal() for name in named)
    known = f"the classes are {', '.join(map(repr, names))}" if names else f"the classes are 0..{classes - 1}"
    if isinstance(key, Integral) and numbers and not by_name:
        raise ConfigError(
            f"class_weight has the key {key!r}, and names of classes are numbers, so that it may be a name or a position: "
            f"write the name as a text. {known[0].upper()}{known[1:]}."
        )
    if (text := str(key)) in names and (isinstance(key, str) or numbers):
        if list(names).count(text) > 1:
            raise ConfigError(f"class_weight: several classes are called {text!r}: pass one weight for each in order.")
        return list(names).index(text)
    if not numbers and text.isdecimal() and int(text) < classes:
        return int(text)
    raise ConfigError(f"class_weight has the key {key!r}, which is no class: {known}.")


def warn_of_count(weights: Sequence[float], counts: Sequence[int]) -> None:
    """Warn of weights under which the rows count as more than there are."""
    rows, total = sum(counts), _total(weights, counts)
    if total > MORE * rows:
        warn(
            f"class_weight counts the {rows:,} training rows as {total:,.0f}, and the posterior will be as sure as if there "
            f"were so many: multiply the weights by {rows / total:.3g}, or take 'balanced', to keep their number.",
        )


def told(weights: Sequence[float], names: Sequence[str], counts: Sequence[int]) -> str:
    """Return what objective weights mean, in words."""
    titles = [names[k] if k < len(names) else str(k) for k in range(len(weights))]
    each = ", ".join(f"{title} {weight:.3g}" for title, weight in zip(titles, weights, strict=True))
    text = f"the log-likelihood of each row counts by its class ({each})"
    if not counts:
        return text
    total = _total(weights, counts)
    effective = total**2 / sum(weight**2 * count for weight, count in zip(weights, counts, strict=True))
    return f"{text}: {sum(counts):,} rows as {total:,.4g}, with an effective sample size (Kish) of {effective:,.4g}"


def shift(weights: Sequence[float]) -> tuple[float, ...]:
    """Return -ln w of each class, which is added to logits to correct for the weights.

    Raises:
        ConfigError: a weight is 0.
    """
    if not all(weights):
        raise ConfigError(
            "a class of weight 0 was not learned, so that its probability can't be told: fit with positive weights."
        )
    return tuple(-math.log(weight) for weight in weights)


def row_weights(weights: Sequence[float], labels: Tensor) -> Tensor:
    """Return the weights of rows with labels (n,), float32, on their device."""
    return torch.tensor(weights, dtype=torch.float32, device=labels.device)[labels]


def as_numbers(value: Any) -> Any:
    """Return an array or a tensor of weights as a list."""
    return value.tolist() if hasattr(value, "tolist") else value


def _total(weights: Sequence[float], counts: Sequence[int]) -> float:
    return sum(weight * count for weight, count in zip(weights, counts, strict=True))
