"""Which architectures of transformers can be given a posterior: each class of five auto classes, tiny and random.

    python -m paper_repro.architectures.run [--task image] [--targets auto] [--networks A,B] [--again]

Each class runs in a process of its own, forked from this one, which may take so much processor time. A class that the results
file has from this version of transformers is not run again, unless by `--again`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import warnings
from typing import Any

import torch
import transformers
from transformers.utils import logging

from paper_repro.architectures.case import METHOD, TARGETS, TASKS, classes_of, outcome
from paper_repro.results import append, read

EXPERIMENT = "architectures"
SECONDS = 60


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--targets", choices=TARGETS)
    parser.add_argument("--networks", help="these classes alone")
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    known = set() if args.again else measured()
    wanted = args.networks.split(",") if args.networks else None
    for targets in [args.targets] if args.targets else TARGETS:
        for task in [args.task] if args.task else TASKS:
            for name, kind in classes_of(task).items():
                if (task, name, targets) not in known and (wanted is None or name in wanted):
                    found = forked(task, name, kind, targets)
                    append(EXPERIMENT, task=task, network=name, targets=targets, method=METHOD, **found)


def measured() -> set[tuple[str, str, str]]:
    """Return tasks, classes and target sets that the results file has from this version of transformers."""
    found = (r for r in read(EXPERIMENT) if r["versions"]["transformers"] == transformers.__version__)
    return {(r["task"], r["network"], r["targets"]) for r in found}


def forked(task: str, name: str, kind: str, targets: str) -> dict[str, Any]:
    """Return what comes of a class, from a process of its own that a limit of processor time ends."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        with os.fdopen(writer, "w") as pipe:
            json.dump(outcome(task, name, kind, targets), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not said:
        return {"outcome": "failed", "reason": f"ended by signal {status & 127} (limit: {SECONDS} s of processor time)"}
    found: dict[str, Any] = json.loads(said)
    return found


if __name__ == "__main__":
    main()
