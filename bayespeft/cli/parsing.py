"""How the texts of options become settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import typer

from bayespeft.compare import Tuning
from bayespeft.config import Targets, TrainConfig
from bayespeft.errors import ConfigError


def draws(text: str | int, words: Sequence[str] = ("auto",)) -> int | str:
    """Return a number of draws, or one of some words."""
    if text in words:
        return text
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise typer.BadParameter(f"{text!r} is neither a number from 0 on nor {' or '.join(map(repr, words))}.")
    return number


def draws_to_predict(text: str | int) -> int | str:
    """Return a number of draws, "auto" or "decision"."""
    return draws(text, ("auto", "decision"))


def model_and_data(names: Sequence[str], data: str) -> tuple[str | None, str]:
    """Return the names of a network, or None, and of data, which stand after DIR.

    Args:
        names: one or two of them.
        data: what the command's help calls the second.
    """
    if len(names) > 2:
        raise typer.BadParameter(f"{len(names)} names after DIR: [MODEL] {data} are expected.")
    return (names[0] if len(names) == 2 else None), names[-1]


def targets(names: str | None, layers: str | None, exclude: list[str] | None = None) -> Targets:
    """Read `--targets`, `--layers` and `--exclude`; a method supplies what is not given.

    Raises:
        ConfigError: the layers are not A-B.
    """
    given: dict[str, Any] = {}
    if names is not None:
        words = _are_names(names) and names not in ("auto", "all-linear")
        given["modules"] = names.split(",") if words else names
    if layers is not None:
        bounds = re.fullmatch(r"(\d+)(?:-(\d+))?", layers.strip())
        last = re.fullmatch(r"last-([1-9]\d*)", layers.strip())
        if last is not None:
            given["layers"] = (-int(last[1]), -1)
        elif bounds is not None:
            given["layers"] = (int(bounds[1]), int(bounds[2] or bounds[1]))
        else:
            raise ConfigError(
                f"layers is {layers!r}: one block, such as 7, a range, such as 4-11, or the last, such as last-3."
            )
    if exclude:
        given["exclude"] = [part for text in exclude for part in (text.split(",") if _are_names(text) else [text])]
    return Targets(**given)


def _are_names(text: str) -> bool:
    """Whether it is names with commas between them, and no regular expression."""
    return re.fullmatch(r"[\w.]+(,[\w.]+)*", text) is not None


def train(**settings: Any) -> TrainConfig:
    """Return the training settings that were given; a method supplies the others."""
    return TrainConfig(**{name: value for name, value in settings.items() if value is not None})


def data_options(texts: list[str] | None) -> dict[str, Any]:
    """Read `--data-option`: a value with commas is a list.

    Raises:
        ConfigError: one is not NAME=VALUE, or two have one name.
    """
    found = _once(
        _pairs(texts, "data option", "NAME=VALUE is expected, such as groups=sci.med,sci.space"), "data option"
    )
    return {name: value.split(",") if "," in value else value for name, value in found.items()}


def columns(text: str | None) -> dict[str, str]:
    """Read `--columns`: our name of a column -> the data's.

    Raises:
        ConfigError: one is not OURS=THEIRS, or two are of one name.
    """
    return _once(_pairs(names(text or ""), "columns", "OURS=THEIRS is expected, such as text=sentence"), "column")


def class_weight(text: str | None) -> dict[str | int, float] | Literal["balanced"] | None:
    """Read `--class-weight`: name or number of a class -> its weight, or "balanced".

    Raises:
        ConfigError: one is not CLASS=WEIGHT, or two are of one class.
    """
    if text is None or text == "balanced":
        return "balanced" if text else None
    expected = "CLASS=WEIGHT is expected, such as spam=5,ham=1, or balanced"
    found = _once(_pairs(names(text), "class weight", expected), "class")
    try:
        return {name: float(weight) for name, weight in found.items()}
    except ValueError as error:
        raise ConfigError(f"class weight {text!r}: {expected} ({error}).") from None


def other_data(texts: list[str] | None) -> dict[str, str]:
    """Read `--ood`: title -> name of the data.

    Raises:
        ConfigError: one is not NAME=DATA, or two have one name.
    """
    return _once(_pairs(texts, "other data", "NAME=DATA is expected, such as news=newsgroups"), "other data")


def figures(texts: list[str] | None) -> list[tuple[str, Path]]:
    """Read `--figure`: the name of a figure, and its file.

    Raises:
        ConfigError: one is not NAME=FILE.svg.
    """
    expected = "NAME=FILE.svg is expected: figures of the page are SVG, other formats have only what --plot writes"
    found = _pairs(texts, "figure", expected)
    for name, file in found:
        if Path(file).suffix.lower() != ".svg":
            raise ConfigError(f"figure {f'{name}={file}'!r}: {expected}.")
    return [(name, Path(file)) for name, file in found]


def _once(pairs: list[tuple[str, str]], what: str) -> dict[str, str]:
    titles = [name for name, _ in pairs]
    twice = next((name for name in titles if titles.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{what} {twice!r} is named twice: give each a name of its own.")
    return dict(pairs)


def _pairs(texts: list[str] | None, what: str, expected: str) -> list[tuple[str, str]]:
    found = []
    for text in texts or ():
        name, _, value = text.partition("=")
        if not name or not value:
            raise ConfigError(f"{what} {text!r}: {expected}.")
        found.append((name, value))
    return found


def names(text: str) -> list[str]:
    """Read a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def multiples(text: str | None) -> Tuning | None:
    """Read `--tune`: positive numbers with commas.

    Raises:
        ConfigError: a part is no positive number, or one stands there twice.
    """
    if text is None:
        return None
    try:
        found = [float(part) for part in names(text)]
    except ValueError:
        raise ConfigError(f"{text!r}: numbers with commas between are expected, such as 0.5,1,2.") from None
    return Tuning(multiples=tuple(found))


def numbers(text: str) -> list[int]:
    """Read a list of whole numbers with commas.

    Raises:
        ConfigError: a part is no whole number.
    """
    try:
        return [int(part) for part in names(text)]
    except ValueError:
        raise ConfigError(f"{text!r}: whole numbers with commas between are expected, such as 0,1,2.") from None
