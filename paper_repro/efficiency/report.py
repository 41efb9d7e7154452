"""Time and peak memory of a calibration report: 100,000 examples x 20 classes, with another set and with 10 kept draws.

    python -m paper_repro.efficiency.report [--examples 1000000 --classes 3 --parts report]

CPU seconds as well as wall-clock: the machine may do other work. Memory is the most that was allocated at once, by a second
run under tracemalloc, which slows it; the predictions themselves are not part of it.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from bayespeft.report import CalibrationReport
from bayespeft.report.ood import separations
from bayespeft.report.over_draws import over_draws
from paper_repro import results

EXPERIMENT = "report"


def simulate(n: int, classes: int, sharpness: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels from known probabilities, and predictions that are too sure of them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * sharpness
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    logits *= 1.5
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), labels


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Return wall-clock seconds, CPU seconds, and the peak of allocated memory in bytes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2), "peak_memory_bytes": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--parts", default="report,ood,over_draws")
    arguments = parser.parse_args()
    n, classes = arguments.examples, arguments.classes
    log_probs, labels = simulate(n, classes, 1.5, 0)

    def scores(logs: np.ndarray) -> dict[str, np.ndarray]:
        p = np.exp(logs)
        return {"max_probability": -p.max(axis=1), "entropy": -(p * logs).sum(axis=1)}

    def ood() -> Callable[[], Any]:
        inside, outside = scores(log_probs), scores(simulate(n, classes, 1.0, 1)[0])
        return lambda: separations(inside, {"other": outside})

    def draws() -> Callable[[], Any]:
        each = np.stack([simulate(n, classes, 1.5, 2 + i)[0] for i in range(arguments.draws)]).astype(np.float32)
        return lambda: over_draws(each, labels)

    parts: dict[str, Callable[[], Callable[[], Any]]] = {
        "report": lambda: lambda: CalibrationReport.from_log_probs(log_probs, labels),
        "ood": ood,
        "over_draws": draws,
    }
    for part in arguments.parts.split(","):
        size = {"examples": n, "classes": classes, "draws": arguments.draws}
        results.append(EXPERIMENT, part=part, **size, **measured(parts[part]()))


if __name__ == "__main__":
    main()
