"""Does the jobs of a folder: those that want the GPU alone first, one at a time, then the others by a pool of processes.

python -m paper_repro.gpu.pool FOLDER       # started by `paper_repro.gpu.run`, which writes the folder

`jobs.jsonl` holds the jobs, the most important first; `deadline` the second of the epoch at which all ends; `settings.json`
the rest. Jobs and deadline are read again and again, so that both may grow while the pool runs. A job that is not expected
to end in time is left out for one that is. `log.jsonl` notes each job with its seconds, or its error.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from paper_repro.gpu.worker import READY

Job = dict[str, Any]
POLL = 0.5


class Worker:
    """One process of `paper_repro.gpu.worker`.

    Args:
        log: where what it prints goes.
        environment: additions to this process's.
    """

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "paper_repro.gpu.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **environment},
            )
        self.job: Job | None = None
        self.ready = False
        self.begun = time.time()
        self._text = b""

    def give(self, job: Job) -> None:
        """Start a job."""
        assert self.process.stdin is not None
        self.job, self.begun = job, time.time()
        self.process.stdin.write((json.dumps(job) + "\n").encode())
        self.process.stdin.flush()

    def lines(self) -> list[str]:
        """Return what it said since the last time, once there is something to read."""
        assert self.process.stdout is not None
        self._text += os.read(self.process.stdout.fileno(), 1 << 16)
        *whole, self._text = self._text.split(b"\n")
        return [line.decode() for line in whole]

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


class Pool:
    """Workers, and what they have left to do.

    Args:
        folder: with jobs, deadline and settings.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        self.size: int = settings["workers"]
        self.shared: dict[str, str] = settings["environment"]
        self.done = {job["id"] for job in log(folder)}
        self.pace: dict[str, deque[float]] = {}
        self.workers: list[Worker] = []
        self.spare: Worker | None = None

    def jobs(self) -> list[Job]:
        """Return the jobs that nobody has begun, the most important first."""
        lines = (self.folder / "jobs.jsonl").read_text(encoding="utf-8").splitlines()
        found = [job for line in lines if (job := json.loads(line))["id"] not in self.done]
        return sorted(found, key=lambda job: job["priority"])

    def remaining(self) -> float:
        """Return the seconds to the deadline."""
        return float((self.folder / "deadline").read_text(encoding="utf-8")) - time.time()

    def expected(self, job: Job) -> float:
        """Return the seconds that a job should take: its estimate times what such jobs took of theirs."""
        known = self.pace.get(job["module"])
        return float(job["estimate"]) * (median(known) if known else 1.0)

    def run(self) -> None:
        """Work until everything is done for a while, or the deadline."""
        idle = time.time()
        try:
            while self.remaining() > 0:
                self._alone() or self._together()
                self._listen()
                if (self.workers and any(worker.job for worker in self.workers)) or self.jobs():
                    idle = time.time()
                (self.folder / "state").write_text(self._state(), encoding="utf-8")
                if time.time() - idle > 120:
                    break
        finally:
            for worker in [*self.workers, *([self.spare] if self.spare else [])]:
                if worker.job:
                    self._note(worker.job, time.time() - worker.begun, "the deadline came first")
                worker.end()
            (self.folder / "state").write_text("ended", encoding="utf-8")

    def _alone(self) -> bool:
        """Start the next job that wants the GPU alone; whether there is one, or one at work."""
        at_work = any(worker.job and worker.job["alone"] for worker in self.workers)
        waiting = [job for job in self.jobs() if job["alone"] and self.expected(job) < self.remaining()]
        if at_work or not waiting:
            # The next process imports while this one measures.
            if at_work and waiting and self.spare is None:
                self.spare = self._start({})
            return at_work
        if any(worker.job for worker in self.workers):
            return True  # wait for the GPU
        if self.spare is None:
            self.spare = self._start({})
        if not self.spare.ready:
            return True
        # A fresh process for each: none inherits another's memory.
        for worker in self.workers:
            worker.end()
        self.workers, self.spare = [self.spare], None
        self._give(self.workers[0], waiting[0])
        return True

    def _together(self) -> bool:
        """Keep a pool of workers busy."""
        if self.workers and len(self.workers) == 1 and not self.workers[0].job and self.size > 1:
            self.workers.pop().end()  # that of the jobs alone
        if self.spare:
            self.spare.end()
            self.spare = None
        waiting = [job for job in self.jobs() if not job["alone"]]
        while waiting and len(self.workers) < self.size:
            self.workers.append(self._start(self.shared))
        for worker in self.workers:
            if worker.ready and not worker.job:
                job = next((job for job in waiting if self.expected(job) < self.remaining()), None)
                if job:
                    waiting.remove(job)
                    self._give(worker, job)
        return True

    def _start(self, environment: dict[str, str]) -> Worker:
        return Worker(self.folder / "workers.log", environment)

    def _give(self, worker: Worker, job: Job) -> None:
        self.done.add(job["id"])
        worker.give(job)

    def _listen(self) -> None:
        """Read answers; replace processes that died, or that are far over a job's time."""
        everyone = [*self.workers, *([self.spare] if self.spare else [])]
        with selectors.DefaultSelector() as selector:
            for worker in everyone:
                assert worker.process.stdout is not None
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            ready = [key.data for key, _ in selector.select(POLL)] if everyone else time.sleep(POLL) or []
        for worker in ready:
            for line in worker.lines():
                self._answer(worker, line)
        for worker in everyone:
            late = worker.job and time.time() - worker.begun > worker.job["limit"] + 15
            if late or worker.process.poll() is not None:
                if worker.job:
                    why = "killed, over its time" if late else f"the process died ({worker.process.returncode})"
                    self._note(worker.job, time.time() - worker.begun, why)
                worker.end()
                if worker is self.spare:
                    self.spare = None
                else:
                    self.workers.remove(worker)
                if not worker.ready:
                    time.sleep(POLL)  # a process that can't start must not be started thousands of times

    def _answer(self, worker: Worker, line: str) -> None:
        if line == READY:
            worker.ready = True
        elif worker.job:
            answer = json.loads(line)
            self._note(worker.job, answer["seconds"], answer["error"])
            if not answer["error"]:
                past = self.pace.setdefault(worker.job["module"], deque(maxlen=9))
                past.append(answer["seconds"] / worker.job["estimate"])
            worker.job = None

    def _note(self, job: Job, seconds: float, error: str | None) -> None:
        line = {"id": job["id"], "seconds": round(seconds, 1), "estimate": job["estimate"], "error": error}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _state(self) -> str:
        at_work = [worker.job["id"] for worker in self.workers if worker.job]
        return f"{len(at_work)} at work, {len(self.jobs())} to do: {', '.join(at_work[:4])}"


def log(folder: Path) -> Iterator[Job]:
    """Yield what was done, oldest first."""
    path = folder / "log.jsonl"
    if path.exists():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    Pool(Path(sys.argv[1])).run()
