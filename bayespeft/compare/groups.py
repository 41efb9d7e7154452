"""`Group`: the runs that may be compared with each other, those on one network and data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bayespeft.compare.scores import Floats, decode, tested
from bayespeft.compare.significance import Verdict, judge
from bayespeft.compare.study import Run


@dataclass(frozen=True)
class Group:
    """Runs on one network and data set.

    Attributes:
        model: the network's name.
        label: the data set's name.
        all: its runs; those of a method in the order of the seeds.
    """

    model: str
    label: str
    all: tuple[Run, ...]

    @cached_property
    def runs(self) -> dict[str, list[Run]]:
        """Name of a method -> its runs."""
        names = dict.fromkeys(run["method"] for run in self.all)
        return {name: [run for run in self.all if run["method"] == name] for name in names}

    @cached_property
    def titles(self) -> dict[str, str]:
        """Name of a method -> title, or name where two methods have one title."""
        titles = {run["method"]: run["title"] for run in self.all}
        return titles if len(set(titles.values())) == len(titles) else {name: name for name in titles}

    def verdict(self, metric: str) -> Verdict:
        """Return which method is best by a metric of `scores.tested`, and whether it differs from the others.

        No method is, where a run lacks the metric's contributions because it was made before the metric was registered: the
        best of the other methods need not be the best of all.
        """
        return self._verdicts[metric]

    @cached_property
    def _verdicts(self) -> dict[str, Verdict]:
        scores = {name: {run["seed"]: decode(run["scores"]) for run in runs} for name, runs in self.runs.items()}
        return {
            spec.name: judge(
                {name: _of(spec.name, by_seed) for name, by_seed in scores.items()}, bool(spec.higher_is_better)
            )
            for spec in tested()
        }


def _of(metric: str, by_seed: dict[int, dict[str, Floats]]) -> dict[int, Floats]:
    """Return the contributions of each seed to a metric; none where a seed lacks them."""
    known = all(metric in scores for scores in by_seed.values())
    return {seed: scores[metric] for seed, scores in by_seed.items()} if known else {}


def groups(runs: Sequence[Run]) -> tuple[Group, ...]:
    """Return the runs by network and data set, in order of appearance."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run["settings"]["model"], run["data"]), []).append(run)
    return tuple(Group(model, label, tuple(own)) for (model, label), own in found.items())
