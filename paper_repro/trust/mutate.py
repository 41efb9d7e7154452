"""Mutation testing of the mathematics: each small change of a module should fail a test that is about it.

python -m paper_repro.trust.mutate --seconds 900            # as many as fit, of all modules in turn, chosen by --seed
python -m paper_repro.trust.mutate --only noise --all       # every mutant of one module
python -m paper_repro.trust.mutate --named                  # those that once survived, by name
python -m paper_repro.trust.mutate --survivors              # those that survived a sample that the results file holds

Importing torch takes longer than most tests, so mutants are children that are forked after it: each gives the import system the
changed module, and runs the tests of that module until the first fails. mutmut and cosmic-ray start Python anew for each, or
put every function of the package behind a switch.

Survivors that change nothing stand in survivors.toml, each with the reason.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_repro.results import append, read
from paper_repro.trust.operators import Mutant, mutants

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent.parent
# Seconds of the processor, and of the clock for one that waits for ever: what takes longer has lost its way. A machine that is
# busy otherwise must not make tests that pass look like ones that fail.
SLOWEST, STUCK = 120, 3600.0


@dataclass(frozen=True)
class Target:
    """A module, and the tests that are about it."""

    module: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The module's file."""
        return ROOT / (self.module.replace(".", "/") + ".py")


NAMES = ("base", "diagonal", "full", "low_rank", "matrix_normal", "rotated", "triangular", "rows")
FAMILIES = tuple(f"tests/gaussians/test_{name}.py" for name in (*NAMES, "outer"))
METRICS = (
    "tests/report/test_bootstrap.py",
    "tests/report/metrics/test_examples.py",
    "tests/report/metrics/test_proper.py",
    "tests/report/metrics/test_spec.py",
    "tests/report/test_binning.py",
    "tests/report/metrics/test_selective.py",
    "tests/report/metrics/test_calibration.py",
    "tests/report/metrics/test_smooth.py",
    "tests/report/metrics/test_tally.py",
    "tests/report/metrics/test_intervals.py",
)
CONFORMAL = ("tests/report/test_conformal.py", "tests/report/metrics/test_conformal.py")
TARGETS = (
    Target("bayespeft.variational.kl", ("tests/variational/test_kl.py", "tests/variational/test_reported.py")),
    Target("bayespeft.variational.noise", ("tests/variational/test_noise.py",)),
    Target("bayespeft.prediction.sampling", ("tests/prediction/test_sampling.py",)),
    *(Target(f"bayespeft.gaussians.{name}", FAMILIES) for name in NAMES),
    Target(
        "bayespeft.predictive.categorical",
        ("tests/predictive/test_categorical.py", "tests/predictive/test_average.py", "tests/report/test_over_draws.py"),
    ),
    Target("bayespeft.predictive.normal", ("tests/predictive/test_normal.py",)),
    Target("bayespeft.report.metrics.proper", METRICS),
    Target("bayespeft.report.metrics.calibration", METRICS),
    Target(
        "bayespeft.report.metrics.detection",
        (
            "tests/report/metrics/test_detection.py",
            "tests/report/test_ood.py",
            "tests/report/test_detection_intervals.py",
            *METRICS,
        ),
    ),
    Target("bayespeft.report.metrics.selective", METRICS),
    Target("bayespeft.report.metrics.conformal", CONFORMAL),
    Target("bayespeft.report.conformal", CONFORMAL),
    Target("bayespeft.report.decision", ("tests/report/test_decision.py",)),
    Target("bayespeft.report.selection", ("tests/report/test_selection.py", "tests/report/test_decision.py")),
    Target("bayespeft.gaussians.outer", ("tests/gaussians/test_outer.py",)),
    Target(
        "bayespeft.prediction.output_layer",
        ("tests/prediction/test_output_layer.py", "tests/prediction/test_jacobian.py"),
    ),
    Target("bayespeft.training.horizon", ("tests/training/test_horizon.py",)),
    Target("bayespeft.training.lookout", ("tests/training/test_lookout.py",)),
    Target(
        "bayespeft.training.cross_fitting", ("tests/training/test_cross_fitting.py", "tests/training/test_held_out.py")
    ),
    Target("bayespeft.training.differences", ("tests/training/test_gradients.py",)),
    Target("bayespeft.layers.architecture", ("tests/layers/test_architecture.py",)),
    Target("bayespeft.layers.versions", ("tests/layers/test_versions.py",)),
    Target("bayespeft.fitting.given_outputs", ("tests/fitting/test_given_outputs.py",)),
    Target(
        "bayespeft.prediction.temperature", ("tests/prediction/test_temperature.py", "tests/training/test_held_out.py")
    ),
    Target("bayespeft.data.checks", ("tests/data/test_checks.py",)),
    Target("bayespeft.guides.laplace", ("tests/guides/test_laplace.py",)),
    Target("bayespeft.guides.laplace_full", ("tests/guides/test_laplace.py",)),
    Target("bayespeft.guides.laplace_kronecker", ("tests/guides/test_laplace.py",)),
)
# Changes that once survived: module, what, by what.
NAMED = (
    (
        "bayespeft.variational.noise",
        "random_signs((batch, len(deviation)), deviation) if",
        "random_signs((1, len(deviation)), deviation).expand(batch, -1) if",
    ),
    (
        "bayespeft.variational.noise",
        "random_signs((batch, deviation.shape[-1]), deviation)",
        "random_signs((batch, deviation.shape[1]), deviation)",
    ),
    ("bayespeft.prediction.sampling", "if self._engine is None or self.unit:", "if self._engine is None:"),
    ("bayespeft.predictive.categorical", "unit - first % unit", "unit - first // unit"),
    ("bayespeft.report.conformal", "word >> 11", "word >> 12"),
    ("bayespeft.report.metrics.detection", "RECALL * m[:, None] - 1e-9", "RECALL * m[:, None] + 1e-9"),
)


class _Tree(importlib.machinery.SourceFileLoader):
    """Loads a module from another tree than that of its file, which it is in all else: the registry reads its source."""

    def __init__(self, target: Target, tree: ast.Module) -> None:
        super().__init__(target.module, str(target.path))
        self._tree = tree

    def get_code(self, fullname: str) -> Any:
        return compile(self._tree, self.path, "exec")


class Changed(importlib.abc.MetaPathFinder):
    """Gives the import system another tree in the place of a module's source."""

    def __init__(self, target: Target, tree: ast.Module) -> None:
        self._target, self._tree = target, tree

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Return how the changed module is found, and nothing of any other."""
        if name != self._target.module:
            return None
        return importlib.util.spec_from_file_location(name, self._target.path, loader=_Tree(self._target, self._tree))


def survives(target: Target, tree: ast.Module) -> bool:
    """Whether the tests of a module pass with another tree in its place; one case of each comes first, which kills most."""
    return _passes(target, tree, "--fast") and _passes(target, tree)


@functools.cache
def passes_as_it_is(target: Target) -> bool:
    """Whether the tests of a module pass with its own tree, so that a change can be what fails them."""
    return survives(target, ast.parse(target.path.read_text(encoding="utf-8")))


def _passes(target: Target, tree: ast.Module, *options: str) -> bool:
    child = os.fork()
    if child == 0:
        _run_tests(target, tree, options)
    end = time.monotonic() + STUCK
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run_tests(target: Target, tree: ast.Module, options: Sequence[str]) -> None:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SLOWEST, SLOWEST))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.meta_path.insert(0, Changed(target, tree))
        import pytest

        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore", *options, *target.tests]))
    finally:
        os._exit(code)


def _warm_up() -> None:
    """Import what is slow, and nothing of the package: its modules must be free to be changed."""
    import hypothesis  # noqa: F401
    import pyro  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch
    import torch.distributions
    import torch.func
    import transformers  # noqa: F401

    torch.set_num_threads(1)
    assert not any(name.startswith("bayespeft.") for name in sys.modules)


def explained() -> set[tuple[str, str, str]]:
    """Return module, line and change of each survivor that has a reason."""
    content = tomllib.loads((Path(__file__).parent / "survivors.toml").read_text(encoding="utf-8"))
    return {(one["module"], one["text"], one["change"]) for one in content["survivor"]}


def main() -> None:
    """Make mutants, record what became of them, and exit with 1 where one survives that has no reason to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=900.0, help="begin no mutant after so long")
    parser.add_argument("--only", help="modules whose names hold this")
    parser.add_argument("--all", action="store_true", help="however long it takes")
    parser.add_argument("--named", action="store_true", help="only those that once survived")
    parser.add_argument("--survivors", action="store_true", help="only those that survived what was measured so far")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    _warm_up()
    begin, known = time.monotonic(), explained()
    targets = [target for target in TARGETS if arguments.only is None or arguments.only in target.module]
    todo = list(named()) if arguments.named else _shuffled(targets, arguments.seed)
    if arguments.survivors:
        # A record's line is module:line: change: text, and lines move.
        lines = [line.split(":", 1) for record in read("trust mutants") for line in record["survivors"]]
        lived = {(module, rest.partition(": ")[2]) for module, rest in lines}
        todo = [(target, one) for target, one in todo if (target.module, f"{one.change}: {one.text}") in lived]
    kind = next((name for name in ("named", "survivors", "all") if getattr(arguments, name)), "sample")
    whole = arguments.all or arguments.named or arguments.survivors
    broken: set[Target] = set()
    counts = {"killed": 0, "explained": 0}
    alive: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for target, mutant in todo:
            if target in broken or (not whole and time.monotonic() - begin > arguments.seconds):
                continue
            if (target.module, mutant.text, mutant.change) in known:
                counts["explained"] += 1
            elif survives(target, mutant.tree):
                alive.append(f"{target.module}:{mutant.line}: {mutant.change}: {mutant.text}")
                print("survived", alive[-1], flush=True)
            elif passes_as_it_is(target):
                counts["killed"] += 1
            else:
                print(f"{target.module}: its tests fail as it is", flush=True)
                broken.add(target)
            print(f"{counts}, {len(alive)} survived", file=sys.stderr, flush=True)
    finally:  # what was tried before an interruption counts
        append(
            "trust mutants",
            kind=kind,
            only=arguments.only,
            of=len(todo),
            tried=sum(counts.values()) + len(alive),
            **counts,
            survived=len(alive),
            survivors=alive,
            seconds=round(time.monotonic() - begin),
        )
    sys.exit(bool(alive or broken))


def named() -> Any:
    by_module = {target.module: target for target in TARGETS}
    for module, old, new in NAMED:
        source = by_module[module].path.read_text(encoding="utf-8")
        assert source.count(old) == 1, (module, old)
        line = source[: source.index(old)].count("\n") + 1
        yield by_module[module], Mutant(line, old, new, ast.parse(source.replace(old, new)))


def _shuffled(targets: list[Target], seed: int) -> list[tuple[Target, Mutant]]:
    """Return the mutants of all modules, in turn, each module's in random order."""
    generator, queues = random.Random(seed), []
    for target in targets:
        found = list(mutants(target.path.read_text(encoding="utf-8")))
        generator.shuffle(found)
        queues.append([(target, mutant) for mutant in found])
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


if __name__ == "__main__":
    main()
