"""What the scripts of this folder share: data, and posteriors that are fitted once and kept."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

import bayespeft
from bayespeft import Method, Posterior, TrainConfig
from bayespeft.compare import held_out
from bayespeft.report.metrics import accuracy, brier, ece, nll
from bayespeft.task import Task
from paper_repro.results import read

Rows = list[dict[str, Any]]


def pending(
    args: argparse.Namespace, experiment: str, methods: Iterable[Method], **more: Any
) -> Iterator[tuple[str, Method, int, dict[str, Any]]]:
    """Yield task, method, seed and key of what the results file does not hold yet, looked up when its turn comes.

    `more` belongs to the key; None is what a record without it has.
    """
    chosen = list(methods)
    for seed in map(int, args.seeds.split(",")):
        for task in args.tasks.split(","):
            for method in chosen:
                key = {
                    "task": task,
                    "model": args.model,
                    "method": method.name,
                    "seed": seed,
                    "limit": args.limit,
                    "steps": args.steps,
                    **more,
                }
                if not any(all(record.get(k) == v for k, v in key.items()) for record in read(experiment)):
                    yield task, method, seed, key


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of what every script takes."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--data-dir")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--device")
    parser.add_argument("--limit", type=int, default=500, help="training rows")
    parser.add_argument("--test-limit", type=int, default=800)
    parser.add_argument("--steps", type=int, help="optimiser steps, where it is not the method that says how many")
    parser.add_argument("--max-length", type=int, help="longest input in tokens; the network's own by default")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="save each posterior here, and read those that are there")
    return parser


def metrics(log_probs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return accuracy, NLL, ECE and Brier score."""
    p, y = log_probs.double().numpy(), labels.numpy()
    return {f.__name__: round(float(f(p, y)), 5) for f in (accuracy, nll, ece, brier)}


def of_names(args: argparse.Namespace, data: str) -> Task:
    """Return network and data: texts are classified, questions with choices are answered by a language model."""
    return Task(
        model=args.model, data=data, data_dir=args.data_dir, max_length=args.max_length, device=args.device or "cpu"
    )


def some(task: Task, split: str, limit: int, seed: int) -> Rows:
    """Return rows of a split; of questions those with as many choices as most have, as the papers do."""
    rows = task.rows(split, limit=10**9, seed=seed)
    if "choices" in rows[0]:
        [(usual, _)] = Counter(len(row["choices"]) for row in task.rows("train")).most_common(1)
        rows = [row for row in rows if len(row["choices"]) == usual]
    return rows[:limit]


def test_rows(args: argparse.Namespace, task: str) -> Rows:
    """Return test rows, the same for every seed."""
    return some(of_names(args, task), "test", args.test_limit, 0)


def fitted(args: argparse.Namespace, task: str, method: Method, seed: int, start: Posterior | None = None) -> Posterior:
    """Fit a method, or read the posterior that was kept.

    A method that needs validation data holds a fifth of the training rows out for it.
    """
    named = of_names(args, task)
    rows = some(named, "train", args.limit, seed)
    validation = None
    if method.temperature:
        rows, validation = held_out(rows, seed)
    place = args.keep and args.keep / f"{Path(args.model).name}-{task}-{method.name}-{seed}-{args.limit}"
    if start is None:
        model, tokenizer = named.network(seed)
    else:
        model, tokenizer = start.model, start.tokenizer
    if place and place.is_dir():
        return bayespeft.load(place, model, tokenizer=tokenizer)
    posterior = bayespeft.fit(
        model,
        rows,
        method,
        likelihood=named.likelihood(),
        tokenizer=tokenizer,
        validation=validation,
        start=start,
        train=TrainConfig(steps=args.steps) if args.steps else TrainConfig(),
        seed=seed,
        progress=False,
    )
    if place:
        posterior.save(place)
    return posterior
