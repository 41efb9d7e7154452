"""Pages of HTML that need nothing else: one template each, over a base with the style. Whatever they are given is escaped."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from bayespeft.utils.visible import visible


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: the name of a file in `templates/` without its ending, such as "report".
        values: what the template shows. Text is escaped; what is HTML already must be a `markupsafe.Markup`.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.filters["unbroken"] = _unbroken
    return environment


def _shown(value: Any) -> Any:
    """Return a text without characters that a browser obeys; what is HTML already was made of such."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _unbroken(text: str) -> str:
    """Return a text of ours in which no line ends between a number and its percent sign."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def _source(name: str) -> str:
    return files(__package__).joinpath("templates", f"{name}.jinja").read_text(encoding="utf-8")
