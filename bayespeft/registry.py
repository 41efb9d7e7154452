"""Names to classes, lazily: one file in a room's folder is one registered name, nothing is edited elsewhere.

A room is a subpackage ("adapters", "guides", "likelihoods", "methods", "priors", ...). A file `room/name.py` registers
`name` by assigning the room's mark at module level, as in `ADAPTER = Core`. Other people's packages add names
through the entry-point group `bayespeft.<room>`, each pointing to such an object.
"""

from __future__ import annotations

import difflib
import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bayespeft.errors import ConfigError, UnknownNameError

MARKS = {
    "adapters": "ADAPTER",
    "guides": "GUIDE",
    "likelihoods": "LIKELIHOOD",
    "priors": "PRIOR",
    "methods": "METHOD",
    "data.builtin": "DATASET",
    "pretrained": "PRETRAINED",
}

# Helper modules that live in a room without being one of its choices.
HELPERS = {
    "base",
    "categorical",
    "fastfood",
    "framed",
    "frames",
    "gaussian",
    "laplace",
    "prompts",
    "load",
    "subspace",
    "text",
}

AMBIGUOUS = {
    "rosa": (
        "'rosa' names two methods. ROSA, Random Orthogonal Subspace Adaptation (Hameed & Rabusseau 2023), is "
        "'random_subspace'; RoSA, Robust Adaptation, sparse + low-rank (Nikdan et al. 2024, arXiv 2401.04679), is "
        "'sparse_low_rank'. Use one of these keys."
    )
}


@cache
def _entry_points(room: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"bayespeft.{room}")}


@cache
def names(room: str) -> tuple[str, ...]:
    """Return the sorted names registered in a room, without importing what they stand for."""
    package = import_module(f"bayespeft.{room}")
    own = {module.name for module in pkgutil.iter_modules(package.__path__)} - HELPERS
    return tuple(sorted(own | set(_entry_points(room))))


def get(room: str, name: str) -> Any:
    """Return what `name` stands for in `room`: a `Plugin` class, or a `Method`.

    Raises:
        UnknownNameError: nothing has that name (the nearest names are in the message), or it is ambiguous.
        ConfigError: the registered module does not carry the room's mark.
    """
    if not isinstance(name, str):
        raise ConfigError(f"{room}: a name is expected, got {name!r}. Known names: {', '.join(names(room))}.")
    key = name.strip().lower().replace("-", "_")
    if key in AMBIGUOUS:
        raise UnknownNameError(AMBIGUOUS[key])
    if key not in names(room):
        near = difflib.get_close_matches(key, names(room), n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known: {', '.join(names(room))}."
        raise UnknownNameError(f"there is no {name!r} among the {room}. {hint}")
    if key in _entry_points(room):
        return _entry_points(room)[key].load()
    module = import_module(f"bayespeft.{room}.{key}")
    mark = MARKS[room]
    if not hasattr(module, mark):
        raise ConfigError(f"module {module.__name__} registers nothing: it must assign {mark} at module level.")
    return getattr(module, mark)


def check(plugin: Any) -> None:
    """Check that a plugin's class can be found again by its name, for instance before it is saved.

    Raises:
        ConfigError: it is not registered, or another class has its name.
    """
    cls = type(plugin)
    known = name_of(cls) in names(cls.room) and get(cls.room, name_of(cls)) is cls
    if not known:
        raise ConfigError(
            f"{cls.__qualname__} is not registered in {cls.room}, so it could not be loaded again: give it a file there, or "
            f"name it under the entry-point group bayespeft.{cls.room} of your package."
        )


def name_of(cls: type) -> str:
    """Return the name under which a plugin class is registered."""
    room: str = cls.room  # type: ignore[attr-defined]
    for name, point in _entry_points(room).items():
        if point.value.replace(":", ".") == f"{cls.__module__}.{cls.__qualname__}":
            return name
    return cls.__module__.rsplit(".", 1)[-1]
