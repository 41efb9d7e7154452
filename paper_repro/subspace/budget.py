"""Equal numbers of trained values: what LoRA of a rank takes, and the density of a mask that takes as many."""

from __future__ import annotations

from collections.abc import Sequence

Shapes = Sequence[tuple[int, int]]

# Masks are whole numbers of elements in each layer.
TOLERANCE = 0.02


def lora_budget(shapes: Shapes, r: int) -> int:
    """Return the numbers in factors (m, r) and (r, n) of layers (m, n)."""
    return sum(r * (m + n) for m, n in shapes)


def density_for(shapes: Shapes, budget: int) -> float:
    """Return the share of the elements of layers (m, n) that makes a budget, the same for each layer."""
    return budget / sum(m * n for m, n in shapes)


def check_budget(found: int, wanted: int) -> None:
    """Check that trained numbers are as many as they should be, within 2 %.

    Raises:
        ValueError: they are not.
    """
    if abs(found - wanted) > TOLERANCE * wanted:
        raise ValueError(f"{found:,} trained numbers where {wanted:,} were to be compared")
