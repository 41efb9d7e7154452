"""What full fine-tuning changes: singular values, outliers, and what a rank and a density explain of each layer's update.

    python -m paper_repro.structure.run --data-dir DATA [--task sst2] [--limit 500] [--threads 1]

MiniLM is trained whole (method "full"), then the update W - W0 of some layers is measured beside a matrix of independent
normals, which has no structure. A row for each layer goes into the results file; structure.png shows them together.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from bayespeft import registry
from paper_repro.posteriors.common import arguments, fitted, metrics, test_rows
from paper_repro.results import append
from paper_repro.structure.measure import structure
from paper_repro.structure.plot import draw

EXPERIMENT = "structure"
LAYERS = ("attention.self.query", "attention.self.value", "intermediate.dense")
BLOCKS = (0, 5)
BUDGETS = (2, 8, 32, 64)
NOISE = "independent normals"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("structure.png"))
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    posterior = fitted(args, args.task, registry.get("methods", "full"), args.seed)
    found = posterior.predict(test_rows(args, args.task), draws=0)
    quality = metrics(found.log_probs, found.labels)
    updates = updates_of(posterior)
    first = next(iter(updates.values()))
    updates[NOISE] = torch.randn(first.shape, generator=torch.Generator().manual_seed(args.seed), dtype=torch.double)
    for name, update in updates.items():
        start = time.perf_counter()
        append(
            EXPERIMENT,
            task=args.task,
            model=args.model,
            seed=args.seed,
            limit=args.limit,
            layer=name,
            **quality,
            **rounded(structure(update, BUDGETS)),
            seconds=round(time.perf_counter() - start, 1),
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(updates, NOISE).savefig(args.out, dpi=150)


def updates_of(posterior) -> dict[str, torch.Tensor]:
    """Return W - W0 (m, n) of the layers that are measured, by their names within the encoder."""
    mean = posterior.joint_guide.mean()
    values = {
        (layer, stack.factor): mean[stack.name][row].detach()
        for stack in posterior.joint_guide.stacks
        for layer, row in stack.rows.items()
    }
    found = {}
    for block in BLOCKS:
        for layer in LAYERS:
            ending = f"layer.{block}.{layer}"
            (place,) = [p for p in posterior.placements if p.layer.name.endswith(ending)]
            factors = {factor: value for (name, factor), value in values.items() if name == place.layer.name}
            found[f"{block} {layer}"] = place.adapter.delta(factors, place.layer).double()
    return found


def rounded(value):
    """Return nested numbers with four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
