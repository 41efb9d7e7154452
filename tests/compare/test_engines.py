"""Processes, a killed comparison, and Slurm's local stand-in: the same numbers, and no run lost or done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from bayespeft.compare import Execution, Failure, Study, compare_study
from bayespeft.compare.comparison import Comparison
from bayespeft.compare.engines import devices, in_processes
from bayespeft.compare.results import Results
from bayespeft.errors import ConfigError, MissingPackageError
from tests.compare.conftest import QUICK, lines

COSTS = ("seconds", "peak_memory_bytes")


@pytest.fixture
def study(network, data):
    return Study.of(network, data).over(seeds=[0, 1], draws=2, train=QUICK)


@pytest.fixture
def _no_plots(monkeypatch):
    monkeypatch.setattr(Comparison, "save", lambda self, out: None)


def results_of(runs):
    """What a run's result is, without what it cost."""
    return [
        (run["method"], run["seed"], run["settings"], run["scores"], {k: v for k, v in run["report"].items() if k not in COSTS})
        for run in runs
    ]  # fmt: skip


@pytest.mark.usefixtures("_no_plots")
def test_processes_give_bit_for_bit_what_one_process_gives(study, tmp_path):
    alone = compare_study(study, progress=False)
    together = compare_study(study, Execution(workers=2, out=str(tmp_path / "runs")), progress=False)
    assert together.failures == ()
    assert results_of(together.runs) == results_of(alone.runs)
    written = lines(tmp_path / "runs")
    assert sorted(map(str, results_of(written))) == sorted(map(str, results_of(alone.runs)))
    # All of them are there: nothing is left to be done, so that no process is started.
    again = compare_study(study, Execution(workers=2, out=str(tmp_path / "runs")), progress=False)
    assert again.runs == together.runs


class Bomb:
    """Kills the process that reads it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_process_that_dies_takes_no_other_run_with_it(study, tmp_path):
    good, bad, unsent, *_ = study.jobs()
    bad, unsent = replace(bad, plan={"bomb": Bomb()}), replace(unsent, plan={"secret": lambda: None})
    found = {}
    in_processes(
        [bad, unsent, good], Results(tmp_path), ["cpu"], lambda job, outcome: found.update({job.title: outcome})
    )
    assert "BrokenProcessPool" in found[bad.title].error
    assert isinstance(found[unsent.title], Failure)
    assert lines(tmp_path) == [found[good.title]]


@pytest.mark.usefixtures("_no_plots")
def test_a_killed_comparison_goes_on(study, network, data, tmp_path):
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "bayespeft.cli.app", "compare", network, data, "--seeds", "0,1", "--out", str(out)]
    command += ["--steps", "2", "--batch-size", "8", "--draws", "2"]
    launch = [
        sys.executable,
        "-c",
        "import sys, torch; torch.set_num_threads(1); from bayespeft.cli.app import app; app()",
    ]
    process = subprocess.Popen([*launch, *command[3:]], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not Results(out).read():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = lines(out)
    assert 1 <= len(done) < 4, "killed between its runs"
    with open(out / "results.jsonl", "a") as file:
        file.write('{"format": 3, "method": "mel')  # as if the kill had come while it wrote
    comparison = compare_study(study, Execution(out=str(out)), progress=False)
    after = lines(out)
    assert after[: len(done)] == done
    assert len(after) == 4
    assert results_of(comparison.runs) == results_of(compare_study(study, progress=False).runs)


@pytest.mark.usefixtures("_no_plots")
def test_slurm_through_submitits_local_executor(study, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # bit for bit only with as many threads as this process has
    one = study.over(methods=["mle"], seeds=[1])
    execution = Execution(out=str(tmp_path / "runs"), engine="slurm", slurm={"cluster": "local", "timeout_min": 5})
    comparison = compare_study(one, execution, progress=False)
    assert results_of(comparison.runs) == results_of(compare_study(one, progress=False).runs)
    assert lines(tmp_path / "runs") == list(comparison.runs)
    assert any((tmp_path / "runs" / "slurm").iterdir())


@pytest.mark.usefixtures("_no_plots")
def test_ray_on_a_cluster_of_this_machine(study, tmp_path):
    ray = pytest.importorskip("ray", reason="a cluster of its own is no part of what the tests install")
    execution = Execution(out=str(tmp_path / "runs"), engine="ray", ray={"num_cpus": 1})
    comparison = compare_study(study, execution, progress=False)
    assert results_of(comparison.runs) == results_of(compare_study(study, progress=False).runs)
    assert len(lines(tmp_path / "runs")) == len(comparison.runs)
    assert not ray.is_initialized()
    with pytest.raises(ConfigError, match="Ray can't use these settings"):
        compare_study(study, execution.replace(ray={"num_cups": 1}), out=tmp_path / "other", progress=False)


def test_ray_that_is_not_there(study, tmp_path, monkeypatch):
    execution = Execution(engine="ray")
    with pytest.raises(ConfigError, match="engine 'ray' needs a folder"):
        compare_study(study, execution, progress=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"bayespeft\[ray\]"):
        compare_study(study, execution, out=tmp_path, progress=False)


def test_slurm_that_is_not_there(study, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    execution = Execution(engine="slurm")
    with pytest.raises(ConfigError, match="needs a folder"):
        compare_study(study, execution, progress=False)
    for options in ({}, {"cluster": "sge"}, {"cluster": "local", "partion": "x"}):
        with pytest.raises(ConfigError, match="submitit can't use these settings"):
            compare_study(study, execution.replace(slurm=options), out=tmp_path, progress=False)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingPackageError, match=r"bayespeft\[slurm\]"):
        compare_study(study, execution, out=tmp_path, progress=False)


def test_workers_share_the_gpus_or_the_device_that_is_named(monkeypatch):
    assert devices("cpu", None) == ["cpu"]
    assert devices("cpu", 3) == ["cpu"] * 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices("auto", 2) == ["auto"] * 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices("auto", None) == ["cuda:0", "cuda:1"]
    assert devices("auto", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices("cuda:1", None) == ["cuda:1"]
    with pytest.raises(ConfigError, match="workers is 0"):
        devices("cpu", 0)
