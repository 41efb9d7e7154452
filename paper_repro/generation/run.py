"""Does the uncertainty of a written answer predict that it is wrong? SmolLM2 on ViGGO or GSM8k.

    python -m paper_repro.generation.run --data-dir DATA [--tasks viggo,gsm8k] [--methods mle,melora] [--seeds 0]
        [--steps 100] [--test-limit 60] [--draws 8] [--device cuda]

Each method writes greedily, by draws together (8) or, for a point, alone; then the AUROC of "the answer is wrong" by
- length: minus the length-normalised log-probability of the answer (of the average over draws, or of the point);
- information: the sequence mutual information, whole and by token.
Of ViGGO the network reads a meaning representation out of a sentence (as RoSA does it), and an answer is right when function
and attributes are those of the reference ("meaning"), or, which less training reaches, when the function is ("act"); of GSM8k
when the number behind "####" is. A combination that is in the results is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import rankdata

from bayespeft import registry
from bayespeft.config import TrainConfig
from bayespeft.data.load import load as load_rows
from bayespeft.generation.result import Generation
from paper_repro.generation.writer import fitted
from paper_repro.posteriors.common import Rows, arguments
from paper_repro.results import append, read

Rule = Callable[[str, str], bool]
ATTRIBUTE = re.compile(r"(\w+)\[([^\]]*)\]")


def viggo(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a row round: from the sentence to its meaning."""
    return {"source": f"Sentence: {row['target']}\nMeaning:", "target": f" {row['source']}"}


def gsm8k(row: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the question."""
    return {"source": f"Question: {row['source']}\nAnswer:", "target": f" {row['target']}"}


def same_meaning(written: str, expected: str) -> bool:
    """Return whether function and attributes are the same; their order, and that of values, does not count."""

    def parts(text: str) -> tuple[str, dict[str, list[str]]]:
        values = {name: sorted(v.strip() for v in value.split(",")) for name, value in ATTRIBUTE.findall(text)}
        return text.strip().split("(")[0], values

    return parts(written) == parts(expected)


def same_act(written: str, expected: str) -> bool:
    """Return whether the function is the same."""
    return written.strip().split("(")[0] == expected.strip().split("(")[0]


def same_number(written: str, expected: str) -> bool:
    """Return whether the numbers behind the last "####" are the same."""

    def number(text: str) -> str | None:
        found = re.findall(r"####\s*(-?[\d,.]+)", text)
        return found[-1].replace(",", "").rstrip(".") if found else None

    return number(written) is not None and number(written) == number(expected)


@dataclass(frozen=True)
class Written:
    """A task whose answers are texts.

    Attributes:
        turned: what the network reads and writes of a row.
        rules: when an answer is right, by name.
        tokens: that an answer may have.
        steps, test: optimiser steps and test rows, unless the command says otherwise: sized for a CPU.
    """

    turned: Callable[[Mapping[str, Any]], dict[str, Any]]
    rules: Mapping[str, Rule]
    tokens: int
    steps: int
    test: int


TASKS = {
    "viggo": Written(viggo, {"meaning": same_meaning, "act": same_act}, tokens=80, steps=100, test=60),
    "gsm8k": Written(gsm8k, {"answer": same_number}, tokens=120, steps=10, test=16),
}


def auroc(scores: torch.Tensor, wrong: torch.Tensor) -> float | None:
    """Return P(score of a wrong answer > score of a right one), ties half; None where all are right or all wrong."""
    n_wrong, n_right = int(wrong.sum()), int((~wrong).sum())
    if not n_wrong or not n_right:
        return None
    ranks = torch.from_numpy(rankdata(scores.numpy()))
    return round((float(ranks[wrong].sum()) - n_wrong * (n_wrong + 1) / 2) / (n_wrong * n_right), 4)


def errors(rule: Rule, written: Generation, expected: list[str]) -> dict[str, float | None]:
    """Return the share of right answers, and the AUROC of "wrong" by each score."""
    assert written.texts is not None
    wrong = torch.tensor([not rule(text, target) for text, target in zip(written.texts, expected, strict=True)])
    information = written.sequence_mutual_information
    scores = {"length": -written.normalised_log_probs, "log_prob": -written.log_probs}
    if written.draws:
        scores |= {"information": information, "information_per_token": information / written.lengths}
    return {
        "accuracy": round(1 - float(wrong.double().mean()), 4),
        **{name: auroc(values, wrong) for name, values in scores.items()},
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(model="smollm2", limit=None, test_limit=None)
    parser.add_argument("--tasks", default="viggo", help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--methods", default="mle,melora")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--lr", type=float, help="each method's own by default")
    parser.add_argument("--targets", default="all-linear", help="layers, as for fit")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for seed, name in itertools.product(map(int, args.seeds.split(",")), args.tasks.split(",")):
        task = TASKS[name]
        train, test = (
            [task.turned(row) for row in load_rows(name, split, data_dir=args.data_dir, limit=limit, seed=chosen)]
            for split, limit, chosen in (("train", args.limit, seed), ("test", args.test_limit or task.test, 0))
        )
        for method in args.methods.split(","):
            key = {
                "task": name, "model": args.model, "method": method, "seed": seed, "steps": args.steps or task.steps,
                "batch": args.batch, "lr": args.lr, "train_rows": len(train), "test_rows": len(test),
                "draws": args.draws if registry.get("methods", method).guide.stochastic else 0,
            }  # fmt: skip
            if not any(all(record.get(k) == v for k, v in key.items()) for record in read("generation")):
                append("generation", **key, **measured(args, task, key, train, test))


def measured(
    args: argparse.Namespace, task: Written, key: Mapping[str, Any], train: Rows, test: Rows
) -> dict[str, Any]:
    """Fit a method, let it write, and return what of it was right, perplexity and seconds."""
    own = {} if args.lr is None else {"lr": args.lr}
    settings = TrainConfig(steps=key["steps"], batch_size=args.batch, **own)
    posterior = fitted(args, train, key["method"], key, settings, targets=args.targets)
    start = time.perf_counter()
    written = posterior.generate(
        [row["source"] for row in test], draws=args.draws, max_new_tokens=args.max_new_tokens or task.tokens
    )
    seconds = time.perf_counter() - start
    assert written.texts is not None
    right = {name: errors(rule, written, [row["target"] for row in test]) for name, rule in task.rules.items()}
    return {
        "right": right,
        "tokens": int(written.lengths.sum()),
        "unfinished": int((~written.ended).sum()),
        "test_perplexity": round(math.exp(posterior.report(test, args.draws, batch_size=4).nll_per_token.value), 4),
        "train_seconds": round(posterior.history.seconds, 1),
        "write_seconds": round(seconds, 1),
        "trainable": posterior.joint_guide.trainable(),
        "targets": args.targets,
        "examples": [
            [row["target"].strip(), text.strip()] for row, text in zip(test[:3], written.texts[:3], strict=True)
        ],
    }


if __name__ == "__main__":
    main()
