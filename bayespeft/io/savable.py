"""Whether all that a posterior is made of can be written to a file and read from it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from bayespeft import registry
from bayespeft.adapters.base import Adapter
from bayespeft.config import Plugin
from bayespeft.errors import ConfigError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.methods.base import Method


def check_savable(method: Method, likelihood: Likelihood, adapters: Iterable[Adapter]) -> None:
    """Check that each part is found again by its name, with the settings that it has, before it is written, or trained.

    Raises:
        ConfigError: a class is not registered, or a setting is lost on the way through JSON.
    """
    own = (method.adapter, method.guide, method.latent_prior, method.point_prior, method.head_prior)
    for part in {id(part): part for part in (*own, likelihood, *adapters)}.values():
        for plugin in parts(part):
            registry.check(plugin)
        try:
            again = type(part).model_validate(json.loads(json.dumps(part.model_dump(mode="json"), allow_nan=False)))
        except (TypeError, ValueError) as error:  # pydantic's errors are ValueErrors
            raise ConfigError(f"the settings of {part.kind!r} can't be written as JSON: {error}") from None
        if again != part:
            raise ConfigError(
                f"the settings of {part.kind!r} change when they are written as JSON: {part!r} reads {again!r}."
            )


def parts(plugin: Plugin) -> Iterator[Plugin]:
    """Yield a plugin and those among its settings."""
    yield plugin
    for value in dict(plugin).values():
        for inner in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(inner, Plugin):
                yield from parts(inner)
