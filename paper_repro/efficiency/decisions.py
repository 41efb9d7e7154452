"""Draws an example when each has as many as its decision needs: how many, and whether decisions are those of 32 draws.

    python -m paper_repro.efficiency.decisions --data-dir DATA [--tasks sst2,ag_news] [--methods melora]

Fits as many steps as are said, since the length of training is not what is measured. `same` is the share of test rows whose
most probable class is that of 32 draws, `settled` the share that stopped before, and `changed` the share of these whose class
is another one than that of 32 draws, which differ themselves from infinitely many.
"""

from __future__ import annotations

import argparse

import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.prediction.deciding import LEVEL, LOOKS
from paper_repro.defaults import tasks as protocol
from paper_repro.defaults.tasks import rows
from paper_repro.results import append


def main() -> None:
    """Fit, predict with all draws and with as many as are needed, and append both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--tasks", default="sst2,ag_news")
    parser.add_argument("--methods", default="melora")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--test-limit", type=int, default=200)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for task in args.tasks.split(","):
        train, test = rows(task, "report", args.data_dir, args.rows, args.test_limit, 0)
        for method in args.methods.split(","):
            model, tokenizer = protocol.network(args.model, train + test, 0)
            posterior = bayespeft.fit(
                model,
                train,
                method,
                tokenizer=tokenizer,
                likelihood=SequenceClassification(max_length=32),
                train=TrainConfig(steps=args.steps),
                progress=False,
            )
            every = posterior.predict(test, draws=LOOKS[-1])
            found = posterior.predict(test, draws="decision")
            same = found.probs.argmax(-1) == every.probs.argmax(-1)
            early = found.draws_each < LOOKS[-1]
            assert every.labels is not None
            append(
                "decisions",
                model=args.model,
                method=method,
                task=task,
                steps=args.steps,
                level=LEVEL,
                test_rows=len(test),
                accuracy=round(float((every.probs.argmax(-1) == every.labels).double().mean()), 4),
                draws=round(float(found.draws_each.double().mean()), 2),
                settled=round(float(early.double().mean()), 4),
                same=round(float(same.double().mean()), 4),
                changed=round(float((early & ~same).double().sum() / early.double().sum()), 4),
                seconds=round(found.seconds, 2),
                seconds_of_all=round(every.seconds, 2),
            )


if __name__ == "__main__":
    main()
