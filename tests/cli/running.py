"""The command line, as a user runs it: in this process, or in one of its own that can be held in the middle of a fit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import torch
from typer.testing import CliRunner

from bayespeft.cli.app import app

QUICK = ["--steps", "2", "--batch-size", "8"]

# Before the optimiser's step HELD, "ready" is written, and "go" is waited for.
HELD = """
import pathlib, sys, time, torch
threads, number, folder, *arguments = sys.argv[1:]
torch.set_num_threads(int(threads))
step, count, folder = torch.optim.AdamW.step, iter(range(1, 10**9)), pathlib.Path(folder)
def held(self, *args, **kwargs):
    if next(count) == int(number):
        (folder / "ready").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    return step(self, *args, **kwargs)
torch.optim.AdamW.step = held
from bayespeft.cli.app import app
app(arguments)
"""


class Process:
    """A command in a process of its own, which waits before a step until it may go on.

    Args:
        folder: an empty one, for its signals and its output.
        arguments: of the command line.
        before: the step, from 1, of all that it takes; 0: it never waits.
    """

    def __init__(self, folder: Path, *arguments: object, before: int = 0) -> None:
        folder.mkdir()
        self.folder, self.stdout, self.stderr = folder, "", ""
        words = [str(word) for word in (torch.get_num_threads(), before, folder, *arguments)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", HELD, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def wait_until(self, true) -> None:
        """Wait until something is true; a process that ends before that says why."""
        while not true():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def ready(self) -> None:
        """Wait until it waits."""
        self.wait_until((self.folder / "ready").exists)

    def go_on(self) -> int:
        """Let it go on; return its exit code."""
        (self.folder / "go").touch()
        self.stdout, self.stderr = self.process.communicate()
        return self.process.returncode


def bp(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ok(*arguments):
    result = bp(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments):
    """Run what must fail; return its one line on standard error."""
    result = bp(*arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr
