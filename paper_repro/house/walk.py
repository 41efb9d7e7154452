"""Climbs: calls from a lower room of the package into a function that is defined in a higher one.

    python -m paper_repro.house.walk [--method melora] [--list]

Imports go down only, so what a lower room calls in a higher one was handed to it: a closure, or an object whose class stands
above. `fit`, `predict` and `report` run on a tiny network under `sys.setprofile`. A call counts where the function that is
called stands in a higher room than the nearest function of the package on the stack; rooms are ordered by the layers of the
import contract in pyproject.toml. Decorators that check arguments or take a lock are seen through. Calls which torch, Pyro or
another package stands between are counted apart: a network runs the hooks that adapters put on it. Each pair of functions
counts once, however often it calls. A row for each of the two goes into the results file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same, for Python 3.10
    import tomli as tomllib

import bayespeft
from bayespeft import TrainConfig
from bayespeft.testing import networks
from paper_repro.results import append

EXPERIMENT = "climbs"
# These wrap other functions, whatever room they are of.
SEEN_THROUGH = ("bayespeft.utils.checks", "bayespeft.utils.threads")

Pair = tuple[str, str]


def layers() -> dict[str, int]:
    """Return the height of each room, 0 at the bottom, as the import contract orders them."""
    config = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in config["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    rows = [row.split("|") for row in reversed(contract["layers"])]
    return {room.strip(): height for height, row in enumerate(rows) for room in row}


class Climbs:
    """Collects climbs while it is the profiler.

    Attributes:
        direct: (caller, called) where the one calls the other.
        through: the same where functions of other packages stand between.
    """

    def __init__(self, heights: dict[str, int]) -> None:
        self._heights = heights
        self.direct: set[Pair] = set()
        self.through: set[Pair] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Look at a call."""
        if event != "call" or (height := self._height(frame)) is None:
            return
        caller, foreign = frame.f_back, False
        while caller is not None and self._height(caller) is None:
            if caller.f_code.co_name == "<module>" or "importlib" in caller.f_code.co_filename:
                return
            foreign |= caller.f_globals.get("__name__") not in SEEN_THROUGH
            caller = caller.f_back
        if caller is None or (below := self._height(caller)) is None or below >= height:
            return
        (self.through if foreign else self.direct).add((told(caller), told(frame)))

    def _height(self, frame: FrameType) -> int | None:
        """Return how high the function stands; None if it is none of the package's, or one that is seen through."""
        name = frame.f_globals.get("__name__", "")
        if name in SEEN_THROUGH or frame.f_code.co_name == "<module>":
            return None
        return self._heights.get(".".join(name.split(".")[:2]))


def told(frame: FrameType) -> str:
    """Return a function's module and name, and its class where it has one."""
    owner = frame.f_locals.get("self")
    kind = f"{type(owner).__name__}." if owner is not None else ""
    return f"{frame.f_globals['__name__'].removeprefix('bayespeft.')}:{kind}{frame.f_code.co_name}"


def walked(run: Callable[[], object]) -> Climbs:
    """Return the climbs of a function."""
    climbs = Climbs(layers())
    before = sys.getprofile()
    sys.setprofile(climbs)
    try:
        run()
    finally:
        sys.setprofile(before)
    return climbs


def use(method: str) -> None:
    """Fit, predict and report, on the tiny encoder that the tests have."""
    data = networks.sentences()
    train = TrainConfig(steps=2, batch_size=8)
    posterior = bayespeft.fit(
        networks.bert(), data, method, tokenizer=networks.tokenizer(), train=train, progress=False
    )
    posterior.predict(data, draws=2)
    posterior.report(data, draws=2, resamples=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="melora")
    parser.add_argument("--list", action="store_true", help="show the pairs, and write nothing")
    args = parser.parse_args()
    use(args.method)  # modules are imported and caches filled before anything counts
    climbs = walked(lambda: use(args.method))
    if args.list:
        for title, pairs in (("direct", climbs.direct), ("through other packages", climbs.through)):
            print(f"{title}: {len(pairs)}", *sorted(f"  {caller} -> {called}" for caller, called in pairs), sep="\n")
        return
    append(EXPERIMENT, method=args.method, direct=sorted(climbs.direct), through=sorted(climbs.through))


if __name__ == "__main__":
    main()
