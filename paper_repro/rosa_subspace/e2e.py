"""ROSA against LoRA on E2E: SmolLM2 writes what is known of a restaurant as a sentence, by rank.

    python -m paper_repro.rosa_subspace.e2e --data-dir DATA [--methods mle,rosa_subspace] [--ranks 2,4,8] [--seeds 0]

Every linear layer, equally many trained numbers at a rank, equally many steps, each method at its own rate. Measured on
meaning representations that training did not see: the perplexity a token of all their references, and BLEU-4 of greedy texts
against all of these (Papineni et al. 2002; words as the data separate them, capitals count). Resumable.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torchmetrics.functional.text import bleu_score

from bayespeft import Posterior, TrainConfig
from bayespeft.data.load import load as load_rows
from paper_repro.generation.writer import fitted
from paper_repro.posteriors.common import arguments, pending
from paper_repro.results import append
from paper_repro.subspace.glue import adapted, at_budget, layers

EXPERIMENT = "e2e"
# The data have no other training split: it is E2E's validation split, whose meaning representations its test split lacks.
TRAIN = "train_from_valid"
METHODS = "mle,rosa_subspace"


def asked(source: str) -> str:
    """Return what the network reads of a meaning representation."""
    return f"{source}\nText:"


def grouped(rows: Sequence[Mapping[str, str]], limit: int | None = None, seed: int = 0) -> dict[str, list[str]]:
    """Return the references of each meaning representation.

    Args:
        rows: with source and target.
        limit: so many meaning representations: the first after a seeded shuffle; None for all.
        seed: of that shuffle.
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["source"], []).append(row["target"])
    order = list(found)
    random.Random(seed).shuffle(order)
    return {source: found[source] for source in order[:limit]}


def scores(posterior: Posterior, references: Mapping[str, list[str]], most: int) -> dict[str, Any]:
    """Return perplexity a token, BLEU-4 (0 to 1), and the first texts.

    Args:
        posterior: of a language model.
        references: of each meaning representation.
        most: tokens of a text.
    """
    rows = [{"source": asked(source), "target": f" {text}"} for source, texts in references.items() for text in texts]
    written = posterior.generate([asked(source) for source in references], draws=0, max_new_tokens=most)
    assert written.texts is not None
    texts = [text.strip() for text in written.texts]
    return {
        "perplexity": round(math.exp(posterior.report(rows, 0, batch_size=8).nll_per_token.value), 4),
        "bleu": round(float(bleu_score(texts, list(references.values()))), 4),
        "references": len(rows),
        "unfinished": int((~written.ended).sum()),
        "examples": texts[:3],
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(model="smollm2", limit=100, test_limit=20, steps=60)
    parser.add_argument("--tasks", default="e2e", help="a data set of meaning representations and texts")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--ranks", default="2,4,8")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-new-tokens", type=int, default=60)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    shapes = layers(args.model, task="causal")
    for rank in map(int, args.ranks.split(",")):
        methods = [at_budget(name, shapes, rank) for name in args.methods.split(",")]
        for task, method, seed, key in pending(args, EXPERIMENT, methods, rank=rank, batch=args.batch):
            train = load_rows(task, TRAIN, data_dir=args.data_dir, limit=args.limit, seed=seed)
            references = grouped(load_rows(task, "test", data_dir=args.data_dir), args.test_limit)
            posterior = fitted(
                args,
                [{"source": asked(row["source"]), "target": f" {row['target']}"} for row in train],
                method,
                key,
                TrainConfig(steps=args.steps, batch_size=args.batch),
            )
            start = time.perf_counter()
            found = scores(posterior, references, args.max_new_tokens)
            append(
                EXPERIMENT,
                **key,
                test_rows=len(references),
                **found,
                train_seconds=round(posterior.history.seconds, 1),
                refresh_seconds=round(posterior.history.refresh_seconds, 2),
                write_seconds=round(time.perf_counter() - start, 1),
                trainable=adapted(posterior, rank),
                settings=method.model_dump(mode="json", exclude={"title", "summary", "reference", "deviations"}),
            )


if __name__ == "__main__":
    main()
