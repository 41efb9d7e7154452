"""What matters in ROSA: start, which triplets, whether and how often the subspace changes; one thing changed at a time.

    python -m paper_repro.subspace.ablation --data-dir DATA [--seeds 0,1]

MiniLM with 500 rows of SST-2, rank 8 on every linear layer, as in `paper_repro.subspace.glue`. Resumable.
"""

from __future__ import annotations

from typing import Any

from bayespeft import Method
from paper_repro.posteriors.common import arguments
from paper_repro.subspace.glue import at_budget, layers, run_all

EXPERIMENT = "subspace_ablation"
CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "zero_start": {"start": "zero"},
    "top": {"triplets": "top"},
    "bottom": {"triplets": "bottom"},
    "window": {"triplets": "window"},
    "one_subspace": {"every": None},
    "every_2": {"every": 2},
    "every_4": {"every": 4},
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--tasks", default="sst2")
    parser.add_argument("--changes", default=",".join(CHANGES))
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument(
        "--here", action="store_true", help="fit in this process, whose peak memory is then that of all"
    )
    args = parser.parse_args()
    rosa = at_budget("rosa_subspace", layers(args.model), args.rank)
    run_all(args, EXPERIMENT, [changed(rosa, name) for name in args.changes.split(",")])


def changed(rosa: Method, name: str) -> Method:
    """Return ROSA with the change of that name."""
    return rosa.replace(name=name, adapter=rosa.adapter.replace(**CHANGES[name]))


if __name__ == "__main__":
    main()
