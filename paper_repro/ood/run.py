"""Which method's uncertainty, by which score, tells texts of another kind from the test set.

    python -m paper_repro.ood.run --data-dir DATA [--methods mle,melora] [--seeds 0] [--lr 3e-3]

MiniLM learns five newsgroups about computers from 500 messages; the other sets are messages of ten other groups, news
headlines (AG News) and film reviews (SST-2), near to far. Resumable, as `paper_repro.posteriors.run`.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.data.builtin.newsgroups import GROUPS
from bayespeft.data.load import load as load_rows
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.pretrained.load import load as load_model
from bayespeft.report.ood import separate
from paper_repro.posteriors.common import Rows, arguments, metrics, pending
from paper_repro.results import append

EXPERIMENT = "ood"
FAR_GROUPS = tuple(group for group in GROUPS if group.startswith(("rec.", "sci.", "talk.politics")))
CLASSES = 5


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--methods", default="mle,map,mc_dropout,laplace_lora,melora,bayes_rosa,ensemble,blob")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--lr", type=float, help="each method's own by default")
    parser.set_defaults(tasks="newsgroups", test_limit=400)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    methods = [registry.get("methods", name) for name in args.methods.split(",")]
    for _, method, seed, key in pending(args, EXPERIMENT, methods, lr=args.lr):
        append(EXPERIMENT, **key, **measured(args, method, seed))


def others(args: argparse.Namespace) -> dict[str, Rows]:
    """Return rows of the other sets, texts only, as many each as the test set has."""
    options: dict[str, Any] = {"limit": args.test_limit, "seed": 0}
    return {
        "other newsgroups": load_rows("newsgroups", "test", groups=FAR_GROUPS, **options),
        "ag_news": load_rows("ag_news", "test", data_dir=args.data_dir, **options),
        "sst2": load_rows("sst2", "test", data_dir=args.data_dir, **options),
    }


def measured(args: argparse.Namespace, method: bayespeft.Method, seed: int) -> dict[str, Any]:
    model, tokenizer = load_model(args.model, "classification", CLASSES, seed=seed)
    posterior = bayespeft.fit(
        model.to(args.device or "cpu"),
        load_rows("newsgroups", "train", limit=args.limit, seed=seed),
        method,
        tokenizer=tokenizer,
        likelihood=SequenceClassification(max_length=args.max_length),
        train=TrainConfig() if args.lr is None else TrainConfig(lr=args.lr),
        seed=seed,
        progress=False,
    )
    inside = posterior.predict(load_rows("newsgroups", "test", limit=args.test_limit, seed=0), args.draws)
    outside = {
        name: posterior.predict([{"text": row["text"]} for row in rows], args.draws)
        for name, rows in others(args).items()
    }
    return {
        "test_rows": len(inside),
        "draws": inside.draws,
        **metrics(inside.log_probs, inside.labels),
        "train_seconds": round(posterior.history.seconds, 1),
        "separation": [
            {"data": s.data, "score": s.score, **{f: round(getattr(s, f).value, 4) for f in ("auroc", "aupr", "fpr95")}}
            for s in separate(inside, outside)
        ],
    }


if __name__ == "__main__":
    main()
