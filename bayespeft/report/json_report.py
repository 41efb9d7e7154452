"""What reports share: JSON both ways. A report is a frozen dataclass of numbers, strings and tuples of such."""

from __future__ import annotations

import json
import math
import os
from dataclasses import MISSING, asdict, fields, is_dataclass
from types import NoneType
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from bayespeft.errors import DataError
from bayespeft.utils.annotations import ELSEWHERE
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.files import read_text, write_atomic

R = TypeVar("R", bound="JsonReport")


@checked_methods
class JsonReport:
    """Numbers that read and write JSON.

    Attributes:
        WHAT: what it is, in an error: "a calibration report".
    """

    __slots__ = ()
    WHAT: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and None; what is not a finite number becomes None."""
        plain: dict[str, Any] = _finite(asdict(self))  # type: ignore[call-overload]
        return plain

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as JSON, and write it to `path` if given (whole or not at all).

        It is everything in the report: rows of the data that it quotes (`quotes` of `Posterior.report`) are in it.
        """
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if path is not None:
            write_atomic(path, text.encode())
        return text

    @classmethod
    def from_dict(cls: type[R], values: Annotated[dict[str, Any], ELSEWHERE]) -> R:
        """Return the report that `to_dict` wrote. Unknown keys are ignored: they come from a later version.

        Raises:
            DataError: a key is missing, or a value is not what it should be.
        """
        try:
            found = cls._read(values)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"this is not {cls.WHAT}: {type(error).__name__} {error}. Pass what to_json or to_dict wrote."
            ) from error
        return found

    @classmethod
    def _read(cls: type[R], values: dict[str, Any]) -> R:
        """Return what `to_dict` wrote, or raise what comes of it if that is something else."""
        found: R = _decode(cls, values)
        return found

    @classmethod
    def from_json(cls: type[R], source: str | os.PathLike[str]) -> R:
        """Return the report in a file, or in a string that holds the JSON itself (it starts with a brace).

        Raises:
            DataError: the content is not a report.
            FileError: the file can't be read.
        """
        inline = isinstance(source, str) and source.lstrip().startswith("{")
        text = str(source) if inline else read_text(source)
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            where = "the string" if inline else f"{source}"
            raise DataError(f"{where} is not JSON ({error}). Pass what to_json wrote.") from error
        return cls.from_dict(values)


def _decode(kind: Any, value: Any) -> Any:
    arguments = get_args(kind)
    if NoneType in arguments:
        if value is None or (float in arguments and isinstance(value, (int, float))):
            return value
        return _decode(next(a for a in arguments if a is not NoneType), value)
    if get_origin(kind) is tuple:
        return tuple(_decode(arguments[0], item) for item in value)
    if get_origin(kind) is dict:
        return {key: _decode(arguments[1], item) for key, item in value.items()}
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return value
    if not isinstance(value, dict):
        raise TypeError(f"{kind.__name__} is a dictionary, this is {value!r}")
    hints, found = get_type_hints(kind), {}
    for field in fields(kind):
        if field.name in value:
            found[field.name] = _decode(hints[field.name], value[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(field.name)
    return kind(**found)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
