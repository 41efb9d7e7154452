"""A process that has everything imported and does jobs as they come: a line of JSON in, a line of JSON out.

A job names a module with a `main()` and its arguments. It ends with an error when its time is over, which kills no worker.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from types import FrameType

from paper_repro.call import call

READY = "ready"


def run(module: str, arguments: list[str], limit: float) -> None:
    """Run a module's `main()` as the command line would, for at most so many seconds.

    Raises:
        TimeoutError: it took longer.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {limit:.0f} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        call(module, arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    # What a job prints goes to the log; the answers keep the standard output to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    import datasets
    import peft
    import pyro
    import torch
    import transformers

    import bayespeft

    del datasets, peft, pyro, transformers, bayespeft
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        torch.zeros(1, device="cuda")
    print(READY, file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        start, error = time.perf_counter(), None
        try:
            run(job["module"], job["arguments"], job["limit"])
        except (Exception, SystemExit) as problem:
            error = f"{type(problem).__name__}: {problem}"
            traceback.print_exc()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(json.dumps({"seconds": round(time.perf_counter() - start, 1), "error": error}), file=answers, flush=True)


if __name__ == "__main__":
    main()
