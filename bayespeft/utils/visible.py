"""Characters that a terminal or a browser obeys are shown: data, names and messages may hold any."""

from __future__ import annotations

from bayespeft.errors import OBEYED, escaped


def visible(text: str) -> str:
    """Return a text in which such a character stands as Python writes it, for instance `\\x1b` or `\\u202e`."""
    return OBEYED.sub(escaped, text.replace("\r\n", "\n"))
