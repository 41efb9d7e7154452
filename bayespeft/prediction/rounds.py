"""Several rounds of draws over the same data."""

from __future__ import annotations

from bayespeft.data.batch import Batch
from bayespeft.data.digest import Digest
from bayespeft.errors import DataError


class SameRounds:
    """Several rounds of draws read the data anew, and take an example's position for the example."""

    def __init__(self) -> None:
        self._known: list[str] = []

    def check(self, number: int, batch: Batch) -> None:
        """Check that a batch is what the one of this number was before.

        Raises:
            DataError: it is not.
        """
        digest = Digest()
        digest.add_batch(batch)
        if number == len(self._known):
            self._known.append(digest.text())
        elif digest.text() != self._known[number]:
            raise DataError(
                f"batch {number} of the data is another one when it is read again (its order or its contents are random, in "
                "a way that torch's, NumPy's and Python's seeds don't decide), so draws of several rounds can't be averaged "
                "example by example. Give data that stays as it is, or a number of draws in place of a word."
            )
