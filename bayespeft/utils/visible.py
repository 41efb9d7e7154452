"""Characters that a terminal or a browser obeys are shown: data, names and messages may hold any."""

from __future__ import annotations

import re

# C0 but for tab and line feed, DEL and C1, which steer terminals; marks, embeddings, overrides and isolates, which turn the
# direction of what follows; separators of lines.
_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return a text in which such a character stands as Python writes it, for instance `\\x1b` or `\\u202e`."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))
