"""A tiny network and a few rows, for trials of everything in seconds."""

from __future__ import annotations

import json
from pathlib import Path

from bayespeft.pretrained.base import quiet
from bayespeft.testing import networks

TASKS = ("sst2", "mrpc", "cola", "rte")
WRITTEN = ("e2e", "viggo", "gsm8k")
SPLITS = ("train", "train_from_valid", "validation", "test")


def prepare(folder: Path) -> str:
    """Write random networks of two layers and twenty-four rows for each task into a folder.

    The networks are a BERT, in `network`, and a Llama for tasks whose rows are texts to write, in `writer`.

    Returns:
        Arguments that have a module of measurements use them, for two optimiser steps.
    """
    with quiet():
        networks.bert().save_pretrained(folder / "network")
        networks.llama().save_pretrained(folder / "writer")
    for name in ("network", "writer"):
        networks.tokenizer().save_pretrained(folder / name)
    texts = [{"source": f"the {row['text'].split()[1]}", "target": row["text"]} for row in networks.sentences()]
    for task, rows in {**dict.fromkeys(TASKS, networks.sentences()), **dict.fromkeys(WRITTEN, texts)}.items():
        (folder / "data" / task).mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "data" / task / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    few = "--limit 16 --test-limit 8 --steps 2 --seeds 0 --threads 1"
    return f"--model {folder / 'network'} --data-dir {folder / 'data'} {few}"
