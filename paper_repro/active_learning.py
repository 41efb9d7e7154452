"""The curves of the notebook on active learning: accuracy by labels, rows by mutual information against rows at random.

python -m paper_repro.active_learning
"""

from __future__ import annotations

import runpy
from pathlib import Path

import torch

from paper_repro.results import append, read

EXPERIMENT = "active_learning"
NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebooks" / "active_learning.py"


def table() -> str:
    """The newest curves: mean and standard deviation over seeds, %."""
    found = read(EXPERIMENT)
    if not found:
        return "Not measured yet."
    newest = found[-1]
    curves = {name: 100 * torch.tensor(curve, dtype=torch.float64) for name, curve in newest["curves"].items()}
    lines = [f"| labels | {' | '.join(curves)} |", "|---" * (1 + len(curves)) + "|"]
    for k in range(newest["rounds"]):
        cells = (f"{curve[:, k].mean():.1f} ± {curve[:, k].std():.1f}" for curve in curves.values())
        lines.append(f"| {newest['first'] + k * newest['each']} | {' | '.join(cells)} |")
    seeds = len(next(iter(newest["curves"].values())))
    return "\n".join(
        [
            *lines,
            "",
            f"Accuracy, %, mean ± standard deviation over {seeds} seeds. {newest['machine']}, {newest['date']}.",
        ]
    )


def main() -> None:
    torch.set_num_threads(1)
    ran = runpy.run_path(str(NOTEBOOK))
    curves = {name: [[round(v, 4) for v in seed] for seed in curve.tolist()] for name, curve in ran["curves"].items()}
    append(EXPERIMENT, curves=curves, rounds=ran["ROUNDS"], first=ran["FIRST"], each=ran["EACH"])


if __name__ == "__main__":
    main()
