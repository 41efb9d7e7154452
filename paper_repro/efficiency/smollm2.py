"""SmolLM2-135M on ARC-Easy by label tokens: seconds a step, the loss at start and end, seconds of a prediction.

python -m paper_repro.efficiency.smollm2 --data-dir DATA [--steps 60] [--device cuda]
"""

from __future__ import annotations

import argparse

import bayespeft
from bayespeft.config import TrainConfig
from bayespeft.data.load import load as load_rows
from bayespeft.pretrained.load import load as load_model
from paper_repro.results import append


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir")
    parser.add_argument("--method", default="melora")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    model, tokenizer = load_model("smollm2", "causal")
    train = load_rows("arc_easy", "train", data_dir=args.data_dir, seed=0, limit=10**6)
    # A few ARC questions have three or five choices; the four-way ones are the task of the papers.
    train = [row for row in train if len(row["choices"]) == 4]
    test = [row for row in load_rows("arc_easy", "test", data_dir=args.data_dir) if len(row["choices"]) == 4][
        : args.test
    ]
    posterior = bayespeft.fit(
        model,
        train,
        args.method,
        tokenizer=tokenizer,
        train=TrainConfig(steps=args.steps, batch_size=args.batch),
        device=args.device,
    )
    records = posterior.history.records
    fifth = max(1, len(records) // 5)
    report = posterior.report(test, draws=args.draws)
    append(
        "smollm2",
        task="arc_easy",
        method=args.method,
        steps=args.steps,
        batch=args.batch,
        layers=len(posterior.placements),
        nll_first_fifth=round(sum(r.nll for r in records[:fifth]) / fifth, 4),
        nll_last_fifth=round(sum(r.nll for r in records[-fifth:]) / fifth, 4),
        seconds_per_step=round(posterior.history.seconds / args.steps, 3),
        test_rows=len(test),
        draws=report.draws,
        predict_seconds=round(report.seconds or 0.0, 1),
        accuracy=round(report.accuracy.value, 4),
        nll=round(report.nll.value, 4),
        ece=round(report.ece.value, 4),
        peak_memory_gb=round((posterior.history.peak_memory_bytes or 0) / 1e9, 2),
    )


if __name__ == "__main__":
    main()
