"""A tiny network and a few rows, for trials of everything in seconds."""

from __future__ import annotations

import json
from pathlib import Path

from bayespeft.pretrained.base import quiet
from bayespeft.testing import networks

TASKS = ("sst2", "mrpc", "cola", "rte")


def prepare(folder: Path) -> str:
    """Write a random BERT of two layers and twenty-four rows for each task into a folder.

    Returns:
        Arguments that have a module of measurements use them, for two optimiser steps.
    """
    with quiet():
        networks.bert().save_pretrained(folder / "network")
    networks.tokenizer().save_pretrained(folder / "network")
    for task in TASKS:
        (folder / "data" / task).mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation", "test"):
            lines = "".join(json.dumps(row) + "\n" for row in networks.sentences())
            (folder / "data" / task / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    few = "--limit 16 --test-limit 8 --steps 2 --seeds 0 --threads 1"
    return f"--model {folder / 'network'} --data-dir {folder / 'data'} {few}"
