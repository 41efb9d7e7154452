"""Numbers strictly between 0 and 1: risks, levels, probabilities."""

from __future__ import annotations

from numbers import Real

from bayespeft.errors import ConfigError


def check_fraction(name: str, value: object, what: str, example: float) -> None:
    """Check that a setting is a number strictly between 0 and 1.

    Args:
        name: the setting's.
        value: whatever the user gave.
        what: what the number says.
        example: one that will do.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < 1:
        raise ConfigError(f"{name} is {value!r}: {what} is a number between 0 and 1, e.g. {example}.")
