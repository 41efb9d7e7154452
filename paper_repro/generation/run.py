"""Does the uncertainty of a written answer predict that it is wrong? SmolLM2 on ViGGO or GSM8k.

    python -m paper_repro.generation.run --data-dir DATA [--task viggo|gsm8k] [--methods mle,melora] [--seeds 0]
        [--steps 100] [--test 60] [--draws 8] [--device cuda]

Each method writes greedily, by draws together (8) or, for a point, alone; then the AUROC of "the answer is wrong" by
- length: minus the length-normalised log-probability of the answer (of the average over draws, or of the point);
- information: the sequence mutual information, whole and by token.
Of ViGGO the network reads a meaning representation out of a sentence (as RoSA does it), and an answer is right when function
and attributes are those of the reference ("meaning"), or, which less training reaches, when the function is ("act"); of GSM8k
when the number behind "####" is. A combination that is in the results is not run again.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from scipy.stats import rankdata

import bayespeft
from bayespeft import registry
from bayespeft.config import TrainConfig
from bayespeft.data.load import load as load_rows
from bayespeft.generation.result import Generation
from bayespeft.pretrained.load import load as load_model
from paper_repro.results import append, read

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


# How rows are turned, when an answer is right, and how many tokens it may have.
TASKS = {
    "viggo": (viggo, {"meaning": same_meaning, "act": same_act}, 80),
    "gsm8k": (gsm8k, {"answer": same_number}, 200),
}


def auroc(scores: torch.Tensor, wrong: torch.Tensor) -> float | None:
    """Return P(score of a wrong answer > score of a right one), ties half; None where all are right or all wrong."""
    n_wrong, n_right = int(wrong.sum()), int((~wrong).sum())
    if not n_wrong or not n_right:
        return None
    ranks = torch.from_numpy(rankdata(scores.numpy()))
    return round((float(ranks[wrong].sum()) - n_wrong * (n_wrong + 1) / 2) / (n_wrong * n_right), 4)


def errors(rule: Callable[[str, str], bool], written: Generation, expected: list[str]) -> dict[str, float | None]:
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
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir")
    parser.add_argument("--task", default="viggo", choices=sorted(TASKS))
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--methods", default="mle,melora")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--limit", type=int, help="training rows; all by default")
    parser.add_argument("--test", type=int, default=60, help="test rows; 0 for all")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--lr", type=float, help="each method's own by default")
    parser.add_argument("--targets", default="all-linear", help="layers, as for fit")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    turned, rules, tokens = TASKS[args.task]
    own = {} if args.lr is None else {"lr": args.lr}
    config = TrainConfig(steps=args.steps, batch_size=args.batch, **own)
    for seed in map(int, args.seeds.split(",")):
        train = [
            turned(row) for row in load_rows(args.task, "train", data_dir=args.data_dir, limit=args.limit, seed=seed)
        ]
        test = [
            turned(row) for row in load_rows(args.task, "test", data_dir=args.data_dir, limit=args.test or None, seed=0)
        ]
        for method in args.methods.split(","):
            key = {
                "task": args.task, "model": args.model, "method": method, "seed": seed, "steps": args.steps,
                "batch": args.batch, "lr": args.lr, "train_rows": len(train), "test_rows": len(test),
                "draws": args.draws if registry.get("methods", method).guide.stochastic else 0,
            }  # fmt: skip
            if any(all(record.get(k) == v for k, v in key.items()) for record in read("generation")):
                continue
            # A fresh network each, so that no method meets what another left.
            model, tokenizer = load_model(args.model, "causal")
            posterior = bayespeft.fit(
                model, train, method, likelihood="language_modelling", tokenizer=tokenizer, targets=args.targets,
                train=config, seed=seed, device=args.device,
            )  # fmt: skip
            begin = time.perf_counter()
            written = posterior.generate(
                [row["source"] for row in test], draws=args.draws, max_new_tokens=args.max_new_tokens or tokens
            )
            seconds = time.perf_counter() - begin
            assert written.texts is not None
            append(
                "generation",
                **key,
                right={name: errors(rule, written, [row["target"] for row in test]) for name, rule in rules.items()},
                tokens=int(written.lengths.sum()),
                unfinished=int((~written.ended).sum()),
                test_perplexity=round(
                    math.exp(posterior.report(test, args.draws, batch_size=4).nll_per_token.value), 4
                ),
                train_seconds=round(posterior.history.seconds, 1),
                write_seconds=round(seconds, 1),
                trainable=posterior.joint_guide.trainable(),
                targets=args.targets,
                examples=[
                    [row["target"].strip(), text.strip()] for row, text in zip(test[:3], written.texts[:3], strict=True)
                ],
            )


if __name__ == "__main__":
    main()
