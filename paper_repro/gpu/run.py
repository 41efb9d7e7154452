"""All that is measured on a GPU, in so many minutes.

    python -m paper_repro.gpu.run --folder STATE --data-dir DATA --minutes 10 [--parts efficiency,large,equality,defaults]
        [--official FOLDER]
    python -m paper_repro.gpu.run --folder STATE --data-dir DATA --minutes 4 --parts questions,papers   # more, to the same pool
    python -m paper_repro.gpu.run --folder STATE --data-dir DATA --scale smoke --device cpu             # a trial on a CPU

Parts, in the order of importance:
    efficiency  steps, draws and generation against peft, alone on the GPU
    large       a random Llama of 7B, bf16 and 4 bits, alone on the GPU
    equality    whether fits and predictions are those of the CPU
    defaults    the default call on tasks that chose nothing
    questions   the same protocol for SmolLM2: multiple choice by label tokens, and a classification head
    papers      SmolLM2 on multiple choice by all methods and numbers of draws
Results go into STATE/results.jsonl as they come (`python -m paper_repro.merge` brings them home). The pool outlives this
command, which returns after --wait minutes, or when there is nothing left to do; the next command adds to it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from paper_repro.defaults.tasks import QUESTIONS, REPORT
from paper_repro.gpu.pool import Job, log

PARTS = ("efficiency", "large", "equality", "defaults", "questions", "papers")
SMALL = ("--methods", "melora", "--batch", "2", "--length", "8")
# Optimiser steps of a run to its end, and of a search and a run after it, by training rows: what runs so far took.
STEPS = {24: (60, 90), 100: (400, 450), 300: (650, 750), 1000: (1200, 1500), 4000: (2500, 3000)}
RATES = 3


def efficiency(args: argparse.Namespace) -> Iterator[Job]:
    """Alone on the GPU: what a step, a draw and a token cost."""
    device = ("--device", args.device)
    smoke = args.scale == "smoke"
    for precision, dtype in (("bf16", "bfloat16"), ("float32", "float32")):
        minilm, smollm2 = args.minilm, args.smollm2_shape
        few = (*SMALL, "--steps", "2") if smoke else ()
        sizes = ("--sizes", "1x8", "--repeats", "2") if smoke else ("--repeats", "5")
        step, draws = "paper_repro.efficiency.step", "paper_repro.efficiency.draws"
        official = ("--official", args.official) if args.official else ()
        text = (
            "--dtype",
            dtype,
            *(("--tokens", "3", "--repeats", "1") if smoke else ("--tokens", "12", "--repeats", "3")),
        )
        many = few or ("--batch", "8", "--steps", "12")
        yield _alone(draws, 22, smollm2, *device, "--dtype", dtype, *sizes, *official)
        yield _alone(step, 16, smollm2, *device, "--precision", precision, *many, *official)
        yield _alone(draws, 10, minilm, *device, "--dtype", dtype, *sizes, *official)
        yield _alone(step, 9, minilm, *device, "--precision", precision, *(few or ("--steps", "20")), *official)
        # The top quarter of the blocks.
        yield _alone(draws, 12, smollm2, *device, "--dtype", dtype, "--last", "8", *sizes, "--methods", "melora")
        yield _alone(draws, 5, minilm, *device, "--dtype", dtype, "--last", "2", *sizes, "--methods", "melora")
        yield _alone("paper_repro.efficiency.generation", 20, "--model", smollm2, *device, *text)


def large(args: argparse.Namespace) -> Iterator[Job]:
    """Alone on the GPU: a network of 7B."""
    module, device = "paper_repro.efficiency.large", ("--device", args.device, "--methods", "melora,blob")
    small = ("--layers", "2", "--width", "128", "--length", "8", "--steps", "2") if args.scale == "smoke" else ()
    for bits in ("16", "4"):
        yield _alone(module, 25, "--bits", bits, *device, *small)


def equality(args: argparse.Namespace) -> Iterator[Job]:
    """Whether a GPU computes what a CPU computes."""
    few = ("--steps", "5", "--methods", "melora") if args.scale == "smoke" else ("--steps", "40")
    yield _job("paper_repro.gpu.equality", 60, 0, "--model", args.minilm, "--device", args.device, *few)


def defaults(args: argparse.Namespace) -> Iterator[Job]:
    """The default call: cells of task, rows and seed by priority."""
    if args.scale == "smoke":
        yield from (_default(args, ("newswire", 24, 0, method), 1) for method in ("melora", "mle"))
        return
    order = [
        ([(n, 0, method) for n in (300, 1000, 100) for method in ("mle", "melora")], 1),
        ([(4000, 0, method) for method in ("mle", "melora")], 3),
        ([(n, 0, "blob") for n in (300, 1000, 100)], 4),
        ([(n, 1, method) for n in (300, 1000, 100) for method in ("mle", "melora")], 5),
        ([(n, 0, method) for n in (300, 1000, 100) for method in ("map", "laplace_lora")], 6),
        ([(4000, 0, "blob"), (4000, 0, "map")], 7),
        ([(n, 2, method) for n in (300, 1000, 100) for method in ("mle", "melora")], 8),
        ([(n, 1, method) for n in (300, 1000, 100) for method in ("blob", "map", "laplace_lora")], 9),
    ]
    for cells, priority in order:
        found = [
            _default(args, (task, n, seed, method), priority)
            for n, seed, method in cells
            for task in REPORT
            # Fewer rows than that have newsgroups, ag_news and mrpc.
            if n < 4000 or task in ("newswire", "newsgroups20", "sst2", "wic")
        ]
        # The longest first, so that no process is left alone with it.
        yield from sorted(found, key=lambda job: -job["estimate"])


def questions(args: argparse.Namespace) -> Iterator[Job]:
    """The default call of a language model."""
    model = ("--model", "smollm2")
    if args.scale == "smoke":
        yield _default(args, ("arc_easy", 24, 0, "melora"), 2, *model, "--max-length", "64", slower=3)
        yield _default(args, ("sst2", 24, 0, "melora"), 2, *model, slower=3)
        return
    for n, priority in ((300, 2), (1000, 5)):
        for method in ("mle", "melora"):
            for task in QUESTIONS:
                yield _default(args, (task, n, 0, method), priority, *model, "--max-length", "128", slower=3)
            for task in ("newswire", "sst2"):
                yield _default(args, (task, n, 0, method), priority + 1, *model, slower=3)


def papers(args: argparse.Namespace) -> Iterator[Job]:
    """Multiple choice by all methods."""
    tasks = {"arc_easy": 1.5, "openbookqa": 1.5, "arc_challenge": 2, "boolq_closed_book": 2.5}
    methods = ("melora", "mle", "map", "blob", "laplace_lora", "mc_dropout", "blob_official", "ensemble")
    few: tuple[str, ...] = ()
    if args.scale == "smoke":
        tasks, few = {"arc_challenge": 1}, ("--steps", "2", "--limit", "16", "--test-limit", "16", "--draws", "0,2")
    for task, priority in tasks.items():
        # A member of an ensemble takes as long as any other fit.
        for method in sorted(methods, key=lambda name: name != "ensemble"):
            cost = (5 if method == "ensemble" else 1) * 30
            where = ("--data-dir", args.data_dir, "--device", args.device, "--threads", "1")
            yield _job("paper_repro.gpu.papers", cost, priority, *where, "--tasks", task, "--methods", method, *few)


def _default(
    args: argparse.Namespace, cell: tuple[str, int, int, str], priority: float, *more: str, slower: float = 1
) -> Job:
    task, n, seed, method = cell
    to_the_end, searched = STEPS[n]
    steps = (RATES + 1) * to_the_end if method == "mle" else searched
    arguments = ["--data-dir", args.data_dir, "--device", args.device, "--test-limit", str(20 if n < 100 else 400)]
    arguments += ["--tasks", task, "--rows", str(n), "--seeds", str(seed), "--methods", method, *more]
    return _job("paper_repro.defaults.run", 0.05 * steps * slower, priority, *arguments)


def _alone(module: str, estimate: float, *arguments: str) -> Job:
    return _job(module, estimate, 0, *arguments) | {"alone": True, "limit": 3 * estimate + 20}


def _job(module: str, estimate: float, priority: float, *arguments: str) -> Job:
    name = " ".join([module.removeprefix("paper_repro."), *arguments])
    facts: dict[str, Any] = {"estimate": estimate, "limit": 600, "priority": priority, "alone": False}
    return {"id": name, "module": module, "arguments": list(arguments), **facts}


def start(args: argparse.Namespace, jobs: list[Job]) -> None:
    """Give jobs and a deadline to the pool of the folder, and start one if there is none."""
    args.folder.mkdir(parents=True, exist_ok=True)
    environment = dict(pair.split("=", 1) for pair in args.shared_environment)
    settings = {"workers": args.workers, "environment": environment}
    (args.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    path = args.folder / "jobs.jsonl"
    known = {json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()} if path.exists() else ()
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(job) + "\n" for job in jobs if job["id"] not in known)
    (args.folder / "deadline").write_text(str(time.time() + 60 * args.minutes), encoding="utf-8")
    if _state(args.folder) == "ended":
        environment = {
            **os.environ,
            "BAYESPEFT_RESULTS": str(args.folder.resolve() / "results.jsonl"),
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        }
        (args.folder / "state").write_text("starting", encoding="utf-8")
        with (args.folder / "pool.log").open("ab") as file:
            command = [sys.executable, "-m", "paper_repro.gpu.pool", str(args.folder)]
            # Of a session of its own, so that it lives on when this command returns.
            pool = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
            )
        (args.folder / "pid").write_text(str(pool.pid), encoding="utf-8")


def _state(folder: Path) -> str:
    """Return what the pool last said, "ended" where there is none."""
    path = folder / "pid"
    if not path.exists() or not psutil.pid_exists(number := int(path.read_text(encoding="utf-8"))):
        return "ended"
    if psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
        return "ended"
    return (folder / "state").read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--data-dir", default="")
    parser.add_argument("--minutes", type=float, default=10, help="to the deadline of the pool, from now")
    parser.add_argument("--wait", type=float, help="minutes until this command returns; by default until the deadline")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--scale", choices=("smoke", "gpu"), default="gpu")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--minilm", default="minilm")
    parser.add_argument(
        "--smollm2-shape", default="smollm2", help="a folder with a network of that shape, for what is timed"
    )
    parser.add_argument("--official", help="a folder with the official code of BLoB, to be timed beside ours")
    parser.add_argument(
        "--shared-environment", nargs="*", default=[], help="NAME=VALUE for processes that share the GPU"
    )
    args = parser.parse_args()
    jobs = [job for part in args.parts.split(",") if part for job in globals()[part](args)]
    start(args, jobs)
    end = time.time() + 60 * (args.minutes if args.wait is None else args.wait)
    shown = time.time()
    while (
        time.time() < end and (state := _state(args.folder)) != "ended" and not state.startswith("0 at work, 0 to do")
    ):
        time.sleep(1)
        if time.time() - shown > 20:
            shown = time.time()
            print(f"{end - shown:.0f} s left, {state}", flush=True)
    done = list(log(args.folder))
    print(f"{len(done)} jobs done, {sum(bool(job['error']) for job in done)} without result; {_state(args.folder)}")
    for job in done:
        print(f"{job['seconds']:7.1f} s of {job['estimate']:.0f}  {job['id'][:110]}  {job['error'] or ''}"[:230])


if __name__ == "__main__":
    main()
