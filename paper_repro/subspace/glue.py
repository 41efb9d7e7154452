"""LoRA, ROSA, RoSA, sparse only, full and layer-wise training on MiniLM with 500 rows of CoLA, MRPC, RTE and SST-2.

    python -m paper_repro.subspace.glue --data-dir DATA [--methods mle,rosa_subspace] [--tasks sst2] [--seeds 0,1,2]

Every method adapts every linear layer; all but full fine-tuning train as many numbers as LoRA of rank 8 does there, within
2 %, RoSA half of them in its low-rank part. What is compared beyond quality: seconds, of these seconds of factorisation,
peak memory, and the NLL over the steps. Each fit runs in a process of its own, whose memory is that of the fit.
Resumable, as `paper_repro.posteriors.run`.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bayespeft import Method, Posterior, Targets, registry
from bayespeft.layers.heads import find_head
from bayespeft.layers.targets import find_layers
from bayespeft.pretrained.load import TaskKind
from bayespeft.pretrained.load import load as load_model
from paper_repro.posteriors.common import arguments, fitted, metrics, pending, test_rows
from paper_repro.results import append
from paper_repro.subspace.budget import Shapes, check_budget, density_for, lora_budget

EXPERIMENT = "subspace_glue"
METHODS = "mle,rosa_subspace,rosa_sparse,sparse_only,full,full_layerwise"
EVERYWHERE = Targets(modules="all-linear")
POINTS = 40


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--tasks", default="cola,mrpc,rte,sst2")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rank", type=int, default=8, help="of the LoRA whose trained numbers are the budget")
    parser.add_argument(
        "--here", action="store_true", help="fit in this process, whose peak memory is then that of all"
    )
    args = parser.parse_args()
    shapes = layers(args.model)
    run_all(args, EXPERIMENT, [at_budget(name, shapes, args.rank) for name in args.methods.split(",")])


def layers(model: str, targets: Targets = EVERYWHERE, task: TaskKind = "classification") -> Shapes:
    """Return the shapes (m, n) of the linear layers of a network that are adapted."""
    network, _ = load_model(model, task)
    layers = find_layers(network, targets, taken=[head.name for head in find_head(network)])
    return [(layer.out_features, layer.in_features) for layer in layers]


def at_budget(name: str, shapes: Shapes, r: int, targets: Targets = EVERYWHERE) -> Method:
    """Return a method over these layers with the budget of LoRA's rank r; full fine-tuning as it is."""
    method: Method = registry.get("methods", name).replace(targets=targets)
    budget = lora_budget(shapes, r)
    adapter: Any = method.adapter  # what it is made of depends on its kind
    if adapter.kind == "lora":
        adapter = adapter.replace(r=r, alpha=2.0 * r)
    elif adapter.kind in ("core", "random_subspace", "subspace_core"):
        adapter = adapter.replace(r=r)
    elif adapter.kind == "sparse_low_rank":
        low = r // 2 if adapter.r else 0
        adapter = adapter.replace(r=low, density=density_for(shapes, budget - lora_budget(shapes, low)))
    return method.replace(adapter=adapter)


def run_all(args: argparse.Namespace, experiment: str, methods: Sequence[Method]) -> None:
    """Run what the results file lacks, one process for each."""
    spawn = multiprocessing.get_context("spawn")
    for task, method, seed, key in pending(args, experiment, methods):
        if args.here:
            append(experiment, **key, **measured(args, task, method, seed))
            continue
        with spawn.Pool(1) as pool:
            found = pool.apply(measured, (args, task, method, seed))
        append(experiment, **key, **found)


def measured(args: argparse.Namespace, task: str, method: Method, seed: int) -> dict[str, Any]:
    """Fit and evaluate a method; seconds are of the fit, memory is the process's peak (on a GPU, the allocator's)."""
    if args.threads:
        torch.set_num_threads(args.threads)
    posterior = fitted(args, task, method, seed)
    found = posterior.predict(test_rows(args, task), draws=0)
    history = posterior.history
    return {
        "test_rows": len(found),
        **metrics(found.log_probs, found.labels),
        "matthews": round(matthews(found.log_probs.argmax(-1), found.labels), 5),
        "trainable": adapted(posterior, args.rank),
        "train_seconds": round(history.seconds, 1),
        "refresh_seconds": round(history.refresh_seconds, 2),
        "peak_memory_bytes": history.peak_memory_bytes,
        "curve": curve(posterior),
        "settings": method.model_dump(mode="json", exclude={"title", "summary", "reference", "deviations"}),
    }


def adapted(posterior: Posterior, r: int) -> int:
    """Return the trained numbers outside the head.

    Raises:
        ValueError: they are more than 2 % off the budget of rank r, and it is not full fine-tuning.
    """
    trained = posterior.joint_guide.trainable() - sum(p.numel() for p in posterior.joint_guide.head_parameters())
    layers = [placement.layer for placement in posterior.placements if placement.layer.name not in posterior.heads]
    if posterior.method.adapter.kind != "full":
        check_budget(trained, lora_budget([(layer.out_features, layer.in_features) for layer in layers], r))
    return trained


def curve(posterior: Posterior) -> list[list[float]]:
    """Return [step, seconds, NLL of the training data in nats] over the steps, at most 40 of them."""
    records = posterior.history.records
    stride = -(-len(records) // POINTS)
    return [[r.step, round(r.seconds, 2), round(r.nll, 4)] for r in records[stride - 1 :: stride]]


def matthews(predicted: Tensor, labels: Tensor) -> float:
    """Return Matthews' correlation of two classes, 0 where one side never says one of them (Matthews 1975)."""
    table = torch.zeros(2, 2, dtype=torch.float64)
    table.index_put_((labels, predicted), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    scale = table.sum(0).prod() * table.sum(1).prod()
    return float(table.det() / scale.sqrt()) if scale else 0.0


if __name__ == "__main__":
    main()
