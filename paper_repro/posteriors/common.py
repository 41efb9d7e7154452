"""What the scripts of this folder share: data, and posteriors that are fitted once and kept."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

import bayespeft
from bayespeft import Method, Posterior
from bayespeft.compare import held_out
from bayespeft.data.load import load as load_rows
from bayespeft.pretrained.load import load as load_model
from bayespeft.report.metrics import accuracy, brier, ece, nll
from paper_repro.results import read

Rows = list[dict[str, Any]]


def pending(
    args: argparse.Namespace, experiment: str, methods: Iterable[Method]
) -> Iterator[tuple[str, Method, int, dict[str, Any]]]:
    """Yield task, method, seed and key of what the results file does not hold yet, looked up when its turn comes."""
    chosen = list(methods)
    for seed in map(int, args.seeds.split(",")):
        for task in args.tasks.split(","):
            for method in chosen:
                key = {"task": task, "model": args.model, "method": method.name, "seed": seed, "limit": args.limit}
                if not any(all(record[k] == v for k, v in key.items()) for record in read(experiment)):
                    yield task, method, seed, key


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of what every script takes."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--data-dir")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--device")
    parser.add_argument("--limit", type=int, default=500, help="training rows")
    parser.add_argument("--test-limit", type=int, default=800)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="save each posterior here, and read those that are there")
    return parser


def metrics(log_probs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return accuracy, NLL, ECE and Brier score."""
    p, y = log_probs.double().numpy(), labels.numpy()
    return {f.__name__: round(float(f(p, y)), 5) for f in (accuracy, nll, ece, brier)}


def test_rows(args: argparse.Namespace, task: str) -> Rows:
    """Return test rows, the same for every seed."""
    return load_rows(task, "test", data_dir=args.data_dir, limit=args.test_limit, seed=0)


def fitted(args: argparse.Namespace, task: str, method: Method, seed: int, start: Posterior | None = None) -> Posterior:
    """Fit a method, or read the posterior that was kept.

    A method that needs validation data holds a fifth of the training rows out for it.
    """
    rows = load_rows(task, "train", data_dir=args.data_dir, limit=args.limit, seed=seed)
    validation = None
    if method.temperature:
        rows, validation = held_out(rows, seed)
    place = args.keep and args.keep / f"{task}-{method.name}-{seed}-{args.limit}"
    if start is None:
        model, tokenizer = load_model(args.model, "classification", 2, seed=seed)
        model.to(args.device or "cpu")
    else:
        model, tokenizer = start.model, start.tokenizer
    if place and place.is_dir():
        return bayespeft.load(place, model, tokenizer=tokenizer)
    posterior = bayespeft.fit(
        model,
        rows,
        method,
        tokenizer=tokenizer,
        validation=validation,
        start=start,
        seed=seed,
        progress=False,
    )
    if place:
        posterior.save(place)
    return posterior
