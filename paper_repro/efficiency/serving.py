"""Prediction at work: rows a processor second and memory on very many rows, one row by a frozen module, and an import.

    python -m paper_repro.efficiency.serving [--rows 10000,100000] [--parts rows,frozen,import]

The network is a tiny random BERT (two layers of width 32), so that what is measured is the package and not the arithmetic:
rows a second are an upper bound for larger networks, and what the memory grows by from one number of rows to another is what
rows and their predictions take. A frozen module and `predict` take turns at one row, as do the two imports, in processes of
their own, in processor time.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import psutil
import torch
from transformers import BertConfig, BertForSequenceClassification

import bayespeft
from bayespeft import TrainConfig
from bayespeft.utils.memory import PeakMemory
from paper_repro.efficiency.timing import medians
from paper_repro.results import append

MODEL, METHOD, LENGTH, CLASSES = "random BERT, 2 x 32", "melora", 8, 4
PARTS = ("rows", "frozen", "import")
DEPENDENCIES = "import torch, pyro, transformers"


def rows_of(count: int, seed: int = 0) -> list[dict[str, list[int] | int]]:
    """Return rows of random tokens, with labels."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(10, 128, (count, LENGTH), generator=generator).tolist()
    return [{"input_ids": row, "labels": row[0] % CLASSES} for row in tokens]


def fitted() -> bayespeft.Posterior:
    """Return a posterior over the tiny network, trained for a few steps."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=128, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=64, num_labels=CLASSES, pad_token_id=0,
        )
    ).eval()  # fmt: skip
    return bayespeft.fit(model, rows_of(64), METHOD, train=TrainConfig(steps=5), progress=False)


def many_rows(posterior: bayespeft.Posterior, count: int, draws: int) -> None:
    """Predict so many rows."""
    rows = rows_of(count)
    before = psutil.Process().memory_info().rss
    with PeakMemory(posterior.device) as memory:
        # Processor time: other work on the machine takes none of it.
        start = time.process_time()
        posterior.predict(rows, draws=draws, batch_size=256)
        seconds = time.process_time() - start
    assert memory.peak is not None
    append(
        "prediction", part="rows", model=MODEL, method=METHOD, rows=count, length=LENGTH, draws=draws,
        rows_per_cpu_second=round(count / seconds), cpu_seconds=round(seconds, 1),
        peak_memory_bytes=memory.peak, more_memory_bytes=memory.peak - before,
    )  # fmt: skip


def one_row(posterior: bayespeft.Posterior, draws: int) -> None:
    """One row by the frozen module, by `predict`, and by the network alone."""
    row = rows_of(1, seed=1)
    inputs = {"input_ids": torch.tensor([row[0]["input_ids"]])}
    frozen = posterior.freeze(draws=draws)
    with torch.no_grad():
        found = medians(
            {
                "frozen": lambda: frozen(**inputs),
                "predict": lambda: posterior.predict(row, draws=draws),
                "network": lambda: posterior.model(**inputs),
            },
            repeats=50,
            device="cpu",
        )
    append(
        "prediction", part="frozen", model=MODEL, method=METHOD, rows=1, length=LENGTH, draws=draws,
        frozen_ms=round(1e3 * found["frozen"], 2), predict_ms=round(1e3 * found["predict"], 2),
        network_ms=round(1e3 * found["network"], 2), ratio=round(found["frozen"] / found["predict"], 3),
    )  # fmt: skip


def imports(repeats: int = 5) -> None:
    """The package against what it stands on, in fresh processes that take turns."""

    def seconds(statement: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    rounds = [(seconds("import bayespeft"), seconds(DEPENDENCIES)) for _ in range(1 + repeats)][1:]
    own, others = (statistics.median(times) for times in zip(*rounds, strict=True))
    append(
        "prediction", part="import", model="-", method="-", rows=0, draws=0, own_cpu_s=round(own, 2),
        others_cpu_s=round(others, 2), ratio=round(own / others, 3),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="10000,100000")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--parts", default=",".join(PARTS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts = args.parts.split(",")
    if {"rows", "frozen"} & set(parts):
        posterior = fitted()
    if "frozen" in parts:
        one_row(posterior, args.draws)
    if "rows" in parts:
        for count in map(int, args.rows.split(",")):
            many_rows(posterior, count, args.draws)
    if "import" in parts:
        imports()


if __name__ == "__main__":
    main()
