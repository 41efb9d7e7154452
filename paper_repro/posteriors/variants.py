"""BLoB and Me-LoRA with one thing changed at a time: noise, weight of the KL, optimisers, prior, rank, blocks.

    python -m paper_repro.posteriors.variants --data-dir DATA [--methods blob,blob_batch] [--tasks sst2] [--seeds 0,1]

MiniLM with 200 rows. All train for equally many steps of one schedule without held-out rows, so that what differs is the one
thing alone; hence these figures are not those of `paper_repro.posteriors.run`. Resumable, as it is.
"""

from __future__ import annotations

import torch

from bayespeft import Method, Targets, registry
from bayespeft.priors.randomised import Randomised
from paper_repro.posteriors.common import arguments, fitted, pending
from paper_repro.posteriors.run import measured
from paper_repro.results import append

EXPERIMENT = "variants"


def _base(name: str) -> Method:
    """A method with a schedule that says all: steps, no temperature, the prior's weight over the first half."""
    method: Method = registry.get("methods", name)
    train = method.train.replace(
        steps=400, batch_size=16, calibrate=False, kl_warmup=0.5, kl_pace=0.0, lr_schedule="linear", average=0.0
    )
    return method.replace(train=train)


def _changed(base: Method, name: str, *, train: dict[str, object] | None = None, **changes: object) -> Method:
    return base.replace(name=f"{base.name}_{name}", train=base.train.replace(**(train or {})), **changes)


NORMAL = registry.get("priors", "normal")
BLOB, MELORA = _base("blob"), _base("melora")
REWEIGHTED = {"kl_schedule": "blob", "kl_warmup": 0.0}
METHODS = {
    method.name: method
    for method in (
        BLOB,
        _changed(BLOB, "batch", guide=BLOB.guide.replace(noise="batch")),
        _changed(BLOB, "reweighted", train=REWEIGHTED),
        _changed(BLOB, "two_optimisers", train={**REWEIGHTED, "kl_lr": 0.01}),
        MELORA,
        _changed(MELORA, "batch", guide=MELORA.guide.replace(noise="batch")),
        _changed(MELORA, "flipout", guide=MELORA.guide.replace(noise="flipout")),
        _changed(MELORA, "kl_0.1", train={"kl_weight": 0.1}),
        _changed(MELORA, "kl_10", train={"kl_weight": 10.0}),
        _changed(MELORA, "rank_4", adapter=MELORA.adapter.replace(r=4, alpha=8)),
        _changed(MELORA, "rank_32", adapter=MELORA.adapter.replace(r=32, alpha=64)),
        # The top third of MiniLM's blocks, whose draws share what lies below.
        _changed(MELORA, "last_2", targets=Targets(layers=(-2, -1))),
        _changed(MELORA, "prior_0.2", latent_prior=NORMAL(scale=0.2)),
        _changed(MELORA, "prior_1", latent_prior=NORMAL(scale=1.0)),
        _changed(MELORA, "randomised", latent_prior=Randomised(scale=0.2, width=1.0)),
    )
}
# Those that a network without blocks takes, too.
ANYWHERE = {name: method for name, method in METHODS.items() if method.targets == Targets()}


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(limit=200, test_limit=400)
    parser.add_argument("--tasks", default="sst2")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--draws", type=int, default=10)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for task, method, seed, key in pending(args, EXPERIMENT, [METHODS[name] for name in args.methods.split(",")]):
        append(EXPERIMENT, **key, **measured(args, task, fitted(args, task, method, seed)))


if __name__ == "__main__":
    main()
