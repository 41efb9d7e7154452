"""Robust PCA on a film: its background is of low rank, what moves is sparse (the analogy that RoSA is named for).

    python -m paper_repro.rosa_sparse.video [--frames 40] [--size 24]

Frames are generated: a textured room whose light changes slowly (rank 2), and three squares that cross it. The background by
robust PCA, by the median over time and by the best rank-2 matrix, beside the true one. Resumable.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from bayespeft.analysis.decompose import decompose
from bayespeft.report.view import plots
from paper_repro.results import append, read

EXPERIMENT = "video"
TOLERANCE = 1e-4
PICTURE = Path(__file__).with_name("video.png")


def film(frames: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return frames (pixels, frames) in 0 to 1, and their background alone."""
    generator = torch.Generator().manual_seed(seed)
    room, lamp = (torch.rand(size * size, generator=generator) for _ in range(2))
    time = torch.linspace(0, 2 * math.pi, frames)
    background = room[:, None] * 0.5 * torch.ones(frames) + lamp[:, None] * 0.15 * (1 + torch.sin(time))
    shown = background.clone().reshape(size, size, frames)
    side = size // 6
    for k in range(3):
        top = int(torch.randint(size - side, (1,), generator=generator))
        for t in range(frames):
            left = int((size - side) * ((t / frames * (k + 1) + 0.3 * k) % 1))
            shown[top : top + side, left : left + side, t] = 1.0
    return shown.reshape(size * size, frames), background


def measured(frames: int, size: int, seed: int) -> dict[str, float]:
    """Return relative errors of the background, and how well the moving pixels are found."""
    shown, background = film(frames, size, seed)
    found = decompose(shown, tolerance=TOLERANCE)
    u, s, v = torch.linalg.svd(shown, full_matrices=False)

    def error(guess: Tensor) -> float:
        return float((guess - background).norm() / background.norm())

    moving, said = (shown - background).abs() > 1e-6, found.sparse.abs() > 0.05
    right = int((moving & said).sum())
    return {
        "background_error": error(found.low_rank),
        "median_error": error(shown.median(1, keepdim=True).values.expand_as(shown)),
        "rank_2_error": error(u[:, :2] * s[:2] @ v[:2]),
        "rank": found.rank,
        "moving": float(moving.double().mean()),
        "found": right / int(moving.sum()),
        "precision": right / max(1, int(said.sum())),
    }


def draw(frames: int, size: int, seed: int) -> Figure:
    """Draw a frame, its background by robust PCA, and what moves."""
    shown, _ = film(frames, size, seed)
    found = decompose(shown, tolerance=TOLERANCE)
    figure = Figure(figsize=(7.5, 2.6), layout="constrained")
    parts = (("frame", shown), ("low rank", found.low_rank), ("sparse", found.sparse.abs()))
    for axis, (title, values) in zip(figure.subplots(1, 3), parts, strict=True):
        axis.imshow(values[:, frames // 3].reshape(size, size).numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set(title=title, xticks=[], yticks=[])
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, default=24)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args()
    for seed in map(int, args.seeds.split(",")):
        key = {"frames": args.frames, "size": args.size, "seed": seed}
        if not any(all(r[k] == v for k, v in key.items()) for r in read(EXPERIMENT)):
            append(EXPERIMENT, **key, **measured(**key))
    plots.save(draw(args.frames, args.size, 0), args.picture)


if __name__ == "__main__":
    main()
