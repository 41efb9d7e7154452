"""Digests of what every method predicts on a small random network: equal on two commits, or not.

python -m paper_repro.equality.run --out before.json       # on one commit
python -m paper_repro.equality.run --against before.json   # on the other: says which methods differ

Only `bayespeft.fit`, `predict` and `methods` are used, whose names stay, so that the script runs on either side of a change
to everything beneath them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification

import bayespeft
from bayespeft import TrainConfig


def network() -> Any:
    """A random BERT of two layers for three classes, always the same."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(vocab_size=60, max_position_embeddings=32, num_labels=3, **sizes))


def rows(n: int, seed: int) -> list[dict[str, Any]]:
    """Random tokens, 4 to 9 a row, with random labels."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 10, (n,), generator=generator).tolist()
    labels = torch.randint(0, 3, (n,), generator=generator).tolist()
    return [
        {"input_ids": torch.randint(1, 60, (length,), generator=generator).tolist(), "label": label}
        for length, label in zip(lengths, labels, strict=True)
    ]


def digest(posterior: Any, test: Any) -> str:
    """The digest of the averaged log-probabilities, bit for bit."""
    log_probs = posterior.predict(test, draws=3, seed=5).log_probs
    return hashlib.sha256(log_probs.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def digests(names: list[str]) -> dict[str, str]:
    """Two fits of each method: with nothing set (where that trains to no end, bounded), and five steps."""
    train, test = rows(48, 1), rows(16, 2)
    found = {}
    for name in names:
        for label, settings in {"steps": TrainConfig(steps=5), "free": TrainConfig(most_steps=30)}.items():
            try:
                fit = bayespeft.fit(network(), train, guide=name, train=settings, seed=3, progress=False)
                found[f"{name} {label}"] = digest(fit, test)
            except Exception as error:  # which error is part of what must not change
                found[f"{name} {label}"] = f"{type(error).__name__}: {str(error)[:80]}"
            print(name, label, found[f"{name} {label}"], flush=True)
    return found


def main() -> None:
    """Write the digests, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--methods", help="names, with commas between them; all of them when left out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    before = json.loads(args.against.read_text(encoding="utf-8")) if args.against else {}
    names = args.methods.split(",") if args.methods else sorted({key.split()[0] for key in before})
    found = digests(names or list(bayespeft.methods()))
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if args.against:
        differ = [key for key in found if found[key] != before.get(key)]
        print(f"{len(found) - len(differ)} of {len(found)} equal", *differ, sep="\n")
        sys.exit(bool(differ))


if __name__ == "__main__":
    main()
