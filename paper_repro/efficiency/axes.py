"""What a step and ten draws cost along one axis at a time, against peft's LoRA: batch, tokens, layers, rank, draws, size.

    python -m paper_repro.efficiency.axes [--axes batch,tokens,layers,rank,draws,size] [--repeats 3]
    python -m paper_repro.efficiency.axes --plot                   # axes.png, from the newest records

A random BERT of six layers of width 128, so that all of it takes minutes: ratios within one process, medians, interleaved. All
but the axis is as in `BASE`. `step` is a step of Me-LoRA over a step of peft's LoRA, `draws` its averaged prediction over as
many passes of it. `size` is the width.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification

from bayespeft.config import Targets, TrainConfig
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.prediction.predictor import Predictor
from paper_repro.efficiency.step import OwnStep, PeftStep, random_batch
from paper_repro.efficiency.timing import medians
from paper_repro.results import append, read

BASE = {"batch": 4, "tokens": 32, "layers": 6, "rank": 8, "draws": 10, "size": 128}
AXES: dict[str, Sequence[int]] = {
    "batch": (1, 2, 4, 8, 16, 32),
    "tokens": (8, 16, 32, 64, 128),
    "layers": (1, 2, 3, 6),
    "rank": (2, 8, 32),
    "draws": (1, 2, 4, 10, 32),
    "size": (64, 128, 256, 512),
}
PICTURE = Path(__file__).parent / "axes.png"


def ratios(at: dict[str, int], repeats: int) -> dict[str, float]:
    """Return `step` and `draws` at one point of the axes."""
    config = BertConfig(
        vocab_size=2000, hidden_size=at["size"], intermediate_size=4 * at["size"], num_hidden_layers=6,
        num_attention_heads=max(at["size"] // 32, 1), num_labels=2,
    )  # fmt: skip
    torch.manual_seed(0)
    base = BertForSequenceClassification(config).eval().requires_grad_(False)
    ids, labels, rows = random_batch(at["batch"], at["tokens"], "cpu")
    # The blocks that are adapted, by number, as peft names them, too.
    blocks = range(6 - at["layers"], 6)
    names = [f"encoder.layer.{i}.attention.self.{name}" for i in blocks for name in ("query", "value")]
    peft = PeftStep(base, ids, labels, names, causal=False, bf16=False, rank=at["rank"])
    method = choose_method("melora", None, TrainConfig(batch_size=at["batch"]))
    method = method.replace(adapter=method.adapter.replace(r=at["rank"]))
    where = Targets(modules=["query", "value"], layers=(6 - at["layers"], 5))
    with assemble(base, rows, method, targets=where) as made:
        problem = made.problem
        predictor = Predictor(problem)

        def passes() -> None:
            with torch.no_grad():
                for _ in range(at["draws"]):
                    peft.logits().softmax(-1)

        found = medians(
            {
                "peft": peft,
                "own": OwnStep(problem, next(iter(problem.examples.batches(at["batch"])))),
                "passes": passes,
                "draws": lambda: predictor.run(problem.examples, at["draws"], 0, batch_size=at["batch"]),
            },
            repeats,
            "cpu",
            warm_up=1,
        )
    return {
        "step": round(found["own"] / found["peft"], 3),
        "draws": round(found["draws"] / found["passes"], 3),
    }


def newest() -> dict[str, dict[int, dict[str, Any]]]:
    """Return the newest record of each point, by axis and place on it."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for record in read("axes"):
        found.setdefault(record["axis"], {})[record["at"]] = record
    return found


def plot(path: Path = PICTURE) -> None:
    """Draw the ratios along each axis.

    Args:
        path: of the picture.
    """
    from matplotlib.figure import Figure

    records = newest()
    figure = Figure(figsize=(11, 6), layout="constrained")
    for panel, axis in zip(figure.subplots(2, 3, sharey=True).flat, AXES, strict=True):
        points = sorted(records.get(axis, {}).items())
        for name, label in (("step", "a step / peft's"), ("draws", "draws / as many passes")):
            panel.plot([at for at, _ in points], [r[name] for _, r in points], "o-", label=label)
        panel.axhline(1, color="grey", linewidth=0.8)
        panel.set(xscale="log", xlabel=axis)
        panel.set_xticks([at for at, _ in points], [str(at) for at, _ in points], minor=False)
        panel.minorticks_off()
    # All panels share one axis, which has room for each only once all are drawn.
    figure.axes[0].set_ylim(0)
    figure.axes[0].legend()
    dates = sorted({r["date"] for points in records.values() for r in points.values()})
    figure.suptitle(f"Me-LoRA against peft's LoRA, one axis at a time; {' to '.join(dates[:: max(len(dates) - 1, 1)])}")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure what is missing, or draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", default=",".join(AXES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", action="store_true")
    args = parser.parse_args()
    if args.plot:
        plot()
        return
    torch.set_num_threads(1)
    today = datetime.date.today().isoformat()
    known = {(axis, at) for axis, points in newest().items() for at, r in points.items() if r["date"] == today}
    for axis in args.axes.split(","):
        for at in AXES[axis]:
            if (axis, at) not in known:
                append("axes", axis=axis, at=at, repeats=args.repeats, **ratios({**BASE, axis: at}, args.repeats))


if __name__ == "__main__":
    main()
