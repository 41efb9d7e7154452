"""How a tokenizer reads texts, as a digest: two that differ give a network other numbers for the same words."""

from __future__ import annotations

import hashlib
from typing import Any

# Capitals, accents, digits, spaces, signs and scripts: what normalisers and templates treat in their own ways.
SAMPLE = "The quick Fox's  naïve 1,234.5 €-test\n(no. 7): ΑΒγ, 中文 और لا! 🙂"


def reading(tokenizer: Any) -> str:
    """Return a digest of a tokenizer's vocabulary, and of the numbers that it gives to a sample; "" where it has none."""
    vocabulary = getattr(tokenizer, "get_vocab", None)
    if vocabulary is None:
        return ""
    try:
        content = sorted(vocabulary().items()), list(tokenizer(SAMPLE)["input_ids"])
    except Exception:  # a tokenizer of somebody's own need not read just any text
        return ""
    return hashlib.sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()[:16]
