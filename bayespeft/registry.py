"""Names to classes, lazily: one file in a room's folder is one registered name, nothing is edited elsewhere.

A room is a subpackage ("adapters", "guides", "likelihoods", "methods", "priors", ...). A file `room/name.py` registers
`name` by assigning the room's mark at module level, as in `ADAPTER = Core`. Other people's packages add names
through the entry-point group `bayespeft.<room>`, each pointing to such an object.
"""

from __future__ import annotations

import difflib
import pkgutil
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
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
    "report.metrics": "METRICS",
    "report.view": "VIEW",
}

# The rooms of classes; the others hold instances.
PLUGINS = ("adapters", "guides", "likelihoods", "priors")

AMBIGUOUS = {
    "rosa": (
        "'rosa' names two methods. ROSA, Random Orthogonal Subspace Adaptation (Hameed & Rabusseau 2023), is "
        "'random_subspace'; RoSA, Robust Adaptation, sparse + low-rank (Nikdan et al. 2024, arXiv 2401.04679), is "
        "'sparse_low_rank'. Use one of these keys."
    )
}


@cache
def _entry_points(room: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Return what other packages register, by name as it is looked up; a name may be taken by several."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=f"bayespeft.{room}"):
        found[_key(point.name)] = (*found.get(_key(point.name), ()), point)
    return found


@cache
def _own(room: str) -> frozenset[str]:
    # By their text: a room's helpers have no mark, and importing every module for its name would take seconds.
    package, mark = import_module(f"bayespeft.{room}"), re.compile(rf"^{MARKS[room]}\b.*=", re.MULTILINE)
    found = set()
    for module in pkgutil.iter_modules(package.__path__):
        name = f"bayespeft.{room}.{module.name}"
        loader: Any = getattr(find_spec(name), "loader", None)
        if mark.search(loader.get_source(name) or ""):
            found.add(module.name)
    return frozenset(found)


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def names(room: str) -> tuple[str, ...]:
    """Return the sorted names registered in a room, without importing what they stand for."""
    return tuple(sorted(_own(room) | set(_entry_points(room))))


def get(room: str, name: str) -> Any:
    """Return what `name` stands for in `room`: a `Plugin` class, or a `Method`.

    Raises:
        UnknownNameError: nothing has that name (the nearest names are in the message), or it is ambiguous.
        ConfigError: what is registered does not carry the room's mark, or can't be imported.
    """
    if not isinstance(name, str):
        raise ConfigError(f"{room}: a name is expected, got {name!r}. Known names: {', '.join(names(room))}.")
    key = _key(name)
    if key in AMBIGUOUS:
        raise UnknownNameError(AMBIGUOUS[key])
    points = _entry_points(room).get(key, ())
    if len(points) + (key in _own(room)) > 1:
        taken = [*(["bayespeft"] if key in _own(room) else []), *(_origin(point) for point in points)]
        raise UnknownNameError(
            f"{name!r} is registered in {room} more than once, by {' and '.join(taken)}: uninstall one."
        )
    if points:
        return _load(room, points[0])
    if key not in _own(room):
        near = difflib.get_close_matches(key, names(room), n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known: {', '.join(names(room))}."
        raise UnknownNameError(f"there is no {name!r} among the {room}. {hint}")
    module = import_module(f"bayespeft.{room}.{key}")
    if not hasattr(module, MARKS[room]):
        raise ConfigError(f"module {module.__name__} registers nothing: it must assign {MARKS[room]} at module level.")
    return getattr(module, MARKS[room])


@cache
def _load(room: str, point: EntryPoint) -> Any:
    """Return what an entry point of another package stands for; of a module, what its mark says.

    Raises:
        ConfigError: it can't be imported, or is nothing for this room.
    """
    where = f"{point.name!r} ({point.value}, of {_origin(point)}) in {room}"
    try:
        found = point.load()
    except Exception as error:  # another package's module may raise anything
        raise ConfigError(f"{where} can't be imported: {error!r}. Mend or uninstall that package.") from error
    found = getattr(found, MARKS[room], found)
    if room in PLUGINS and not (isinstance(found, type) and getattr(found, "room", None) == room):
        raise ConfigError(f"{where} is {found!r}, and must be a class of that room: point to its {MARKS[room]}.")
    return found


def exports(room: str, others: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a room of classes: `bayespeft.guides.MeanField` is what `mean_field` stands for.

    A class is imported when it is asked for. Its name is the registered name without underscores, each part capitalised.

    Args:
        room: one of `PLUGINS`.
        others: what the room has besides, what its classes are built on: name -> the module that defines it.
    """

    def classes() -> dict[str, str]:
        return {"".join(part.capitalize() for part in name.split("_")): name for name in names(room)}

    def get_attribute(name: str) -> Any:
        if name in others:
            return getattr(import_module(others[name]), name)
        # Submodules and what Python asks every module for are no classes: the room need not be read for them.
        found = classes() if name[:1].isupper() else {}
        if name not in found:
            near = difflib.get_close_matches(name, [*found, *others], n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise AttributeError(f"module 'bayespeft.{room}' has no attribute {name!r}.{hint}")
        return get(room, found[name])

    return get_attribute, lambda: sorted({*classes(), *others})


def forget() -> None:
    """Forget which packages are installed, so that the next name is looked up among those that there are now."""
    for found in (_entry_points, _load, _found):
        found.cache_clear()


def _origin(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist is not None else point.value


def check(plugin: Any) -> None:
    """Check that a plugin's class can be found again by its name, for instance before it is saved.

    Raises:
        ConfigError: it is not registered, or its name is ambiguous.
    """
    cls: Any = type(plugin)
    if _found(cls) is None:
        raise ConfigError(
            f"{cls.__qualname__} is not registered in {cls.room}, so it could not be loaded again: give it a file there, or "
            f"name it under the entry-point group bayespeft.{cls.room} of your package."
        )
    get(cls.room, name_of(cls))


def name_of(cls: type) -> str:
    """Return the name under which a plugin class is registered; its whole dotted name where it is not."""
    return _found(cls) or f"{cls.__module__}.{cls.__qualname__}"


@cache
def _found(cls: Any) -> str | None:
    """Return the name that stands for this very class, wherever its module lies and whatever it is called there."""
    room: str = cls.room
    module, _, last = str(cls.__module__).rpartition(".")
    if module == f"bayespeft.{room}" and getattr(import_module(cls.__module__), MARKS[room], None) is cls:
        return last
    for name, points in _entry_points(room).items():
        for point in points:
            try:
                if _load(room, point) is cls:
                    return name
            except ConfigError:  # it is told when that name is asked for
                continue
    return None
