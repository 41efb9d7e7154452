"""Does harm to what the package writes, reads and is given, and counts what comes of it.

python -m paper_repro.trust                        # all, some forty minutes on an idle core
python -m paper_repro.trust --only flips --flips 1000
python -m paper_repro.trust --only soak --steps 2000 --predictions 500 --fits 80 --generations 100
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch

from paper_repro.results import append
from paper_repro.trust.bases import bases
from paper_repro.trust.calls import calls
from paper_repro.trust.flips import flips
from paper_repro.trust.kills import kills
from paper_repro.trust.loras import loras
from paper_repro.trust.soak import flat, soak
from paper_repro.trust.states import states
from paper_repro.trust.structure import structure
from paper_repro.trust.subject import Subject

PARTS = ("flips", "structure", "kills", "calls", "soak", "mutants")


def main() -> None:
    """Do what was asked for, and exit with 1 where anything was silent or foreign, grew without end, or survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--flips", type=int, default=1000, help="in each of a posterior's files; a fifth in others")
    parser.add_argument("--kills", type=int, default=60, help="of each kind")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--predictions", type=int, default=5000)
    parser.add_argument("--fits", type=int, default=500)
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--mutants", type=float, default=900.0, help="seconds for a random sample of them")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder) / "subject")
        (Path(folder) / "calls").mkdir()
        parts = {
            "flips": lambda: flips(subject, asked.flips, asked.seed),
            "structure": lambda: [
                *structure(subject),
                *states(subject),
                *loras(subject),
                *bases(Path(folder) / "bases"),
            ],
            "kills": lambda: kills(subject, asked.kills, asked.seed),
            "calls": lambda: calls(Path(folder) / "calls"),
        }
        for name in parts:
            if name in asked.only:
                begin = time.process_time()
                for tally in parts[name]():
                    append("trust", **tally.record(), seconds=round(time.process_time() - begin, 1))
                    bad += tally.counts["foreign"] + tally.counts["silent"]
    if "soak" in asked.only:
        for record in soak(asked.steps, asked.predictions, asked.fits, asked.generations):
            append("trust soak", **record)
            bad += not flat(record)
    if "mutants" in asked.only:
        # In processes of their own, which have imported nothing of the package yet.
        for options in (["--named"], ["--seconds", str(asked.mutants), "--seed", str(asked.seed)]):
            bad += (
                subprocess.run([sys.executable, "-m", "paper_repro.trust.mutate", *options], check=False).returncode
                != 0
            )
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
