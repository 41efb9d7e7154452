"""Fuzzing of the readers, guided by coverage: whatever stands in a file, it is read or refused in our words.

python -m paper_repro.trust.fuzz posterior -max_total_time=300     # or state, results, lora; further arguments are libFuzzer's

It needs atheris, which is no dependency (`pip install atheris`). Bytes that broke a reader are written where libFuzzer says,
and become a test.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bayespeft.io", "bayespeft.compare.results", "bayespeft.training.resume"]):
    from bayespeft.compare.results import Results
    from bayespeft.io import checkpoint
    from bayespeft.io.peft import CONFIG, TENSORS, read_lora
    from bayespeft.io.saved import Saved
    from bayespeft.training.resume import Checkpoint
from bayespeft.errors import BayesPeftError
from paper_repro.trust import states
from paper_repro.trust.subject import Subject, sealed
from tests.compare.conftest import made_up


def readers(subject: Subject) -> dict[str, tuple[Callable[[bytes], object], list[bytes]]]:
    """Return what reads bytes as each kind of file, under digests that fit, and files to begin with."""
    folder, lora = subject.copy(subject.posterior), subject.folder / "fuzzed"
    lora.mkdir()
    (lora / TENSORS).write_bytes((subject.lora / TENSORS).read_bytes())
    settings = (folder / checkpoint.SETTINGS).read_bytes()
    state, results = Checkpoint(subject.folder / states.NAME, 1, "key"), Results(subject.folder / "results")
    results.append(made_up("a"))
    line = results.path.read_bytes()
    content = (subject.state / states.NAME).read_bytes().split(b"\n", 2)[2]

    def posterior(data: bytes) -> object:
        (folder / checkpoint.SETTINGS).write_bytes(data)
        with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError, OSError):
            sealed(folder, json.loads(data))
        return Saved.of(checkpoint.read(folder)[1], folder)

    def training(data: bytes) -> object:
        state.path.write_bytes(states.sealed(data))
        return state.read()

    def lines(data: bytes) -> object:
        found = data
        with contextlib.suppress(ValueError, RecursionError, TypeError):
            run = json.loads(data)
            run.pop("sha256", None)
            run["sha256"] = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()
            found = json.dumps(run).encode()
        results.path.write_bytes(found.rstrip(b"\n") + b"\n")
        return results.read()

    def peft(data: bytes) -> object:
        (lora / CONFIG).write_bytes(data)
        return read_lora(lora, subject.network)

    config = (subject.lora / CONFIG).read_bytes()
    return {
        "posterior": (posterior, [settings]),
        "state": (training, [content]),
        "results": (lines, [line]),
        "lora": (peft, [config]),
    }


def main() -> None:
    """Fuzz the reader that the first argument names."""
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as place:
        read, seeds = readers(Subject(Path(place) / "subject"))[name]
        corpus = Path(place) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)

        def one(data: bytes) -> None:
            with contextlib.suppress(BayesPeftError):
                read(data)

        atheris.Setup([*sys.argv, "-max_len=65536", "-rss_limit_mb=4096", str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
