"""All that is measured of speed and memory on this machine, by one command, then what became slower.

    python -m paper_repro.efficiency.run --data-dir DATA [--official FOLDER] [--smollm2-shape FOLDER] [--parts draws,step]
    python -m paper_repro.efficiency.run --scale smoke            # a trial of all of it in a few minutes

One script after another, each a process of its own, because two at once would disturb each other's times. `--again` repeats
what was measured today. On a GPU `python -m paper_repro.gpu.run` does the same against a deadline.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from collections.abc import Iterator

from paper_repro.efficiency import check
from paper_repro.results import read

PARTS = ("draws", "step", "axes", "generation", "decisions", "reports", "plan", "serving")
REPORTS = ((100_000, 20), (1_000_000, 3), (2_000, 50_000))


def commands(args: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each part with the arguments of `python -m`, most wanted first."""
    smoke = args.scale == "smoke"
    efficiency = "paper_repro.efficiency."
    official = ["--official", args.official] if args.official else []
    few = ["--sizes", "1x8", "--repeats", "1", "--methods", "melora"] if smoke else ["--repeats", "5"]
    yield "draws", [efficiency + "draws", "minilm", *few, *official]
    yield "draws", [efficiency + "draws", "minilm", "--last", "2", *few]
    if args.smollm2_shape:
        yield "draws", [efficiency + "draws", args.smollm2_shape, *(few if smoke else ["--repeats", "3"]), *official]
        yield "draws", [efficiency + "draws", args.smollm2_shape, "--last", "8", *few, "--methods", "melora"]
    size = ["--batch", "2", "--length", "8", "--steps", "1", "--methods", "melora"] if smoke else []
    yield "step", [efficiency + "step", "minilm", *(size or ["--steps", "8"]), *official]
    if args.smollm2_shape:
        yield "step", [efficiency + "step", args.smollm2_shape, *(size or ["--batch", "8", "--steps", "4"]), *official]
    yield "axes", [efficiency + "axes", *(["--repeats", "1", "--axes", "batch"] if smoke else [])]
    if args.smollm2_shape:
        text = ["--tokens", "6", "--repeats", "1"] if smoke else ["--tokens", "20", "--repeats", "3"]
        yield "generation", [efficiency + "generation", "--model", args.smollm2_shape, *text]
    if args.data_dir:
        rows = (
            ["--rows", "24", "--test-limit", "10", "--steps", "2"]
            if smoke
            else ["--test-limit", "80", "--steps", "200"]
        )
        yield "decisions", [efficiency + "decisions", "--data-dir", args.data_dir, "--tasks", "ag_news", *rows]
    for examples, classes in [(1000, 3)] if smoke else REPORTS:
        table = ["--examples", str(examples), "--classes", str(classes)]
        yield "reports", [efficiency + "report", "--parts", "report", *table]
    yield "plan", [efficiency + "plan", *(["--sizes", "10", "--project", "7", "--repeats", "1"] if smoke else [])]
    if not smoke:
        yield "serving", [efficiency + "serving"]


def measured_today(command: list[str]) -> bool:
    """Whether the results have a record of this command, but for folders, that is of today."""
    shown = " ".join(["python", "-m", *("DATA" if part.startswith("/") else part for part in command)])
    today = datetime.date.today().isoformat()
    experiments = ("draws_speed", "step", "axes", "generation_speed", "decisions", "report", "plan", "prediction")
    return any(r["command"] == shown and r["date"] == today for name in experiments for r in read(name))


def main() -> int:
    """Run what is missing; 1 if a script failed, or if a figure rose by more than a tenth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--official", help="a folder with the official code of BLoB")
    parser.add_argument("--smollm2-shape", help="smollm2, or a folder with a network of that shape")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--scale", choices=("smoke", "cpu"), default="cpu")
    parser.add_argument("--again", action="store_true", help="also what was measured today")
    args = parser.parse_args()
    failed = 0
    for part, command in commands(args):
        if part not in args.parts.split(",") or (not args.again and measured_today(command)):
            continue
        print("python -m", *command, flush=True)
        failed += subprocess.run([sys.executable, "-m", *command], check=False).returncode != 0
    found = [change for name in check.FIGURES for change in check.changes(name, read(name))]
    worse = [change for change in found if change.ratio > 1.1]
    for change in worse:
        print(change)
    print(f"{failed} scripts failed, {len(worse)} of {len(found)} figures rose by more than 10 %")
    return int(bool(failed or worse))


if __name__ == "__main__":
    raise SystemExit(main())
