"""Does a GPU compute what the CPU computes? A fit, a prediction and a report on both, in float32 and in bf16.

    python -m paper_repro.gpu.equality --device cuda [--model minilm]

Fixed steps and seed; draws are noise made on the CPU, training noise is the device's own. So the prediction of one posterior
is compared at equal draws (in float32 to 1e-4 in probabilities), and two fits by their reports (bf16 too).
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path
from typing import Literal

import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.pretrained.load import load
from paper_repro.results import append

WORDS = ("good", "bad", "film", "plot", "fine", "dull", "warm", "cold", "long", "short")


def rows(n: int, seed: int) -> list[dict[str, object]]:
    """Return texts of ten words; the label says whether "good" comes more often than "bad"."""
    generator = torch.Generator().manual_seed(seed)
    texts = [[WORDS[i] for i in torch.randint(len(WORDS), (10,), generator=generator)] for _ in range(n)]
    return [{"text": " ".join(text), "label": int(text.count("good") > text.count("bad"))} for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--methods", default="melora,blob,laplace_lora")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    train, test = rows(200, 0), rows(200, 1)
    base, tokenizer = load(args.model, "classification", 2)
    for method in args.methods.split(","):

        def fit(device: str, precision: Literal["float32", "bf16"], method: str = method) -> bayespeft.Posterior:
            return bayespeft.fit(
                copy.deepcopy(base),
                train,
                method,
                tokenizer=tokenizer,
                likelihood=SequenceClassification(max_length=16),
                train=TrainConfig(steps=args.steps, precision=precision),
                device=device,
                progress=False,
            )

        here = fit("cpu", "float32")
        probs = here.predict(test, 10, seed=0, prediction="sampled").probs
        reports = {"cpu": here.report(test, quotes=0, resamples=50)}
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "posterior"
            here.save(folder)
            there = bayespeft.load(folder, copy.deepcopy(base).to(args.device), tokenizer=tokenizer)
        moved = there.predict(test, 10, seed=0, prediction="sampled").probs
        precisions: tuple[Literal["float32", "bf16"], ...] = ("float32", "bf16")
        for precision in precisions:
            reports[precision] = fit(args.device, precision).report(test, quotes=0, resamples=50)
        append(
            "gpu_equality",
            device=args.device,
            method=method,
            steps=args.steps,
            test_rows=len(test),
            largest_difference_of_probabilities=float((probs - moved).abs().max()),
            equal_to_1e_4=bool((probs - moved).abs().max() < 1e-4),
            **{f"nll_{name}": round(report.nll.value, 5) for name, report in reports.items()},
            **{f"accuracy_{name}": round(report.accuracy.value, 5) for name, report in reports.items()},
        )


if __name__ == "__main__":
    main()
