"""Arguments are what their annotations say, at every public function's door: one mechanism, and an error that names them.

`@checked` reads the annotations of a function, `@checked_methods` those of a class's public methods. Numbers of numpy, and of
tensors without dimensions, count as Python's; True and False do not count as numbers, nor strings as sequences; numbers
are finite. `Any` is not looked at, nor is a protocol: whoever takes such arguments checks them.
"""

from __future__ import annotations

import inspect
import operator
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from math import isfinite
from numbers import Real
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.utils.annotations import BOUNDS, ELSEWHERE, MAYBE_NAN, Must
from bayespeft.utils.described import described, layout_of, shown

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
# Bytes that the name of a file or folder has at most, on every usual file system.
LONGEST_NAME = 255


class _Misfit(Exception):
    """A value is not what its hint says; `str` of it says why, where that is not plain from the hint."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check a function's arguments at each call.

    Raises:
        ConfigError: one is not what its annotation says; the message names function, argument, value, and what it must be.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own words, with the function's name
        hints = _hints(function)
        for name, value in bound.arguments.items():
            kind = signature.parameters[name].kind
            if name in hints and kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
                bound.arguments[name] = check(f"{function.__name__}: {name}", value, hints[name])
        # Probabilities too small for a number are 0, which formulas heed, whatever the user has numpy do about underflow.
        with np.errstate(under="ignore"):
            return function(*bound.args, **bound.kwargs)

    return call


def checked_methods(cls: type[C]) -> type[C]:
    """Check the arguments of all public methods that a class defines, as `checked`."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, types.FunctionType):
            setattr(cls, name, checked(member))
        elif isinstance(member, (classmethod, staticmethod)):
            setattr(cls, name, type(member)(checked(member.__func__)))
    return cls


def check(what: str, value: Any, hint: Any) -> Any:
    """Return a value as its hint says: numbers as Python's.

    Raises:
        ConfigError: it is something else; the message begins with `what`.
    """
    for part in value if type(value) is tuple else (value,):
        _check_numbers(what, part)
    try:
        return _fitted(value, hint)
    except _Misfit as misfit:
        raise ConfigError(f"{what}={shown(value)} {str(misfit) or f'must be {described(hint)}'}.") from None


def _check_numbers(what: str, value: Any) -> None:
    """Check that a tensor or an array, where it is one, has its numbers at hand, and all of them."""
    if isinstance(value, Tensor) and value.is_meta:
        raise ConfigError(f"{what} is on the device 'meta', and so holds no numbers: load it onto another one.")
    if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_nested):
        raise ConfigError(f"{what} is a {layout_of(value)} tensor: pass a plain one (to_dense(), or padded).")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ConfigError(
            f"{what} is an array with masked values, and a mask is not heeded: leave those rows out, or fill them (filled())."
        )


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    while True:
        try:
            return get_type_hints(function, localns=known or None, include_extras=True)
        except NameError as error:  # a name that only type checkers import
            known[error.name or ""] = Any


def _fitted(value: Any, hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if ELSEWHERE in arguments:
            return value
        if MAYBE_NAN in arguments:
            return _that(value, isinstance(value, Real) and not isinstance(value, bool))
        return _bounded(_fitted(value, arguments[0]), arguments[1:])
    if origin in (Union, types.UnionType):
        if isinstance(value, (str, os.PathLike)) and any(get_origin(one) is os.PathLike for one in arguments):
            return _path(value)
        return _either(value, arguments)
    if origin is Literal:
        same = [one for one in arguments if isinstance(value, type(one)) and value == one]
        return _that(same and same[0], bool(same))
    if origin is not None:
        return _container(value, origin, arguments)
    return _single(value, hint)


def _single(value: Any, hint: Any) -> Any:
    if hint in (bool, int, float):
        return _number(value, hint)
    if hint is str and isinstance(value, str) and not _writable(value):
        raise _Misfit("holds a character that can't be written, a lone surrogate or NUL")
    if hint is None:
        hint = type(None)
    if hint in (Any, object) or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return value
    return _that(value, isinstance(value, hint))


def _path(value: str | os.PathLike[str]) -> Any:
    """Return the path of a file or folder, or a text in its place that is no name: JSON itself, which begins with a brace."""
    found = os.fspath(value)
    text = _single(_that(found, isinstance(found, str)), str)
    inline = isinstance(value, str) and text.lstrip().startswith("{")
    if not inline and any(len(os.fsencode(part)) > LONGEST_NAME for part in text.split(os.sep)):
        raise _Misfit(f"has a part of more than {LONGEST_NAME} bytes, which no file's name can have")
    return value


def _writable(text: str) -> bool:
    """Whether a text can be a file's name or content; bytes of names that are no UTF-8 stand in it as surrogates, too."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _listed(value: Any) -> Any:
    """Return an array as lists, or as a number."""
    try:
        return value.tolist()
    except RuntimeError:  # a tensor without data, on the device "meta"
        raise _Misfit from None


def _number(value: Any, kind: type) -> Any:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "tolist"):
        value = _listed(value)
    if kind is bool or isinstance(value, bool):
        return _that(value, kind is bool and isinstance(value, bool))
    try:
        number = operator.index(value) if kind is int else float(_that(value, isinstance(value, Real)))
    except (TypeError, OverflowError):
        raise _Misfit from None
    return _that(number, isfinite(number) if kind is float else True)


def _that(value: Any, right: bool) -> Any:
    if not right:
        raise _Misfit
    return value


def _either(value: Any, hints: Iterable[Any]) -> Any:
    why = ""
    for hint in hints:
        try:
            return _fitted(value, hint)
        except _Misfit as misfit:
            why = why or str(misfit)
    raise _Misfit(why)


def _container(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(origin, type):
        return value
    if origin is Sequence and getattr(value, "ndim", None) and hasattr(value, "tolist"):
        value = _listed(value)
    text = isinstance(value, (str, bytes, bytearray))
    _that(value, isinstance(value, origin) and not (text and issubclass(origin, Iterable)))
    if issubclass(origin, Mapping):
        found = {_fitted(key, arguments[0]): _fitted(one, arguments[1]) for key, one in value.items()}
        return value if all(found[key] is one for key, one in value.items()) else found
    if issubclass(origin, (Sequence, set, frozenset)):
        each = arguments[:1] * len(value) if arguments[-1] is ... or origin is not tuple else arguments
        parts = [_fitted(one, hint) for one, hint in zip(value, _that(each, len(each) == len(value)), strict=True)]
        # A range of converted numbers is none any more.
        return (
            value
            if all(map(operator.is_, parts, value))
            else (list if isinstance(value, range) else type(value))(parts)
        )
    return value


def _bounded(value: Any, bounds: Iterable[Any]) -> Any:
    for bound in bounds:
        if isinstance(bound, Must):
            _that(value, bound.test(value))
        elif type(bound) in BOUNDS:
            name, holds, _ = BOUNDS[type(bound)]
            _that(value, holds(value, getattr(bound, name)))
    return value
