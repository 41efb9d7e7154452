"""One command measures all of it: its commands exist, and what was measured today is not measured again."""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from paper_repro import results
from paper_repro.efficiency import run

WITH_ALL = {"data_dir": "/data", "official": "/official", "smollm2_shape": "/shape"}


@pytest.mark.parametrize("scale", ["smoke", "cpu"])
@pytest.mark.parametrize("given", [WITH_ALL, dict.fromkeys(WITH_ALL)])
def test_every_command_is_a_script_that_knows_its_settings(scale, given):
    found = list(run.commands(argparse.Namespace(scale=scale, **given)))
    parts = [part for part, _ in found]
    assert set(parts) <= set(run.PARTS)
    missing: set[str] = set()
    if given["data_dir"] is None:
        missing |= {"generation", "decisions"}
    if scale == "smoke":
        missing |= {"serving"}
    assert set(run.PARTS) - set(parts) == missing
    for _, (module, *rest) in found:
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        assert all(f'"{part}"' in source for part in rest if part.startswith("--"))


def test_what_was_measured_today_is_not_measured_again(tmp_path, monkeypatch, capsys):
    file = tmp_path / "results.jsonl"
    today = datetime.date.today().isoformat()
    command = "python -m paper_repro.efficiency.report --parts report --examples 1000 --classes 3"
    file.write_text(json.dumps({"experiment": "report", "command": command, "date": today}))
    monkeypatch.setattr(results, "FILE", file)
    ran = []

    def pretend(command, check):
        ran.append(command[2])
        return subprocess.CompletedProcess(command, int("plan" in command[2]))

    monkeypatch.setattr(subprocess, "run", pretend)
    monkeypatch.setattr(sys, "argv", ["run", "--scale", "smoke", "--parts", "reports,plan"])
    assert run.main() == 1
    assert ran == ["paper_repro.efficiency.plan"]
    assert "1 scripts failed" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["run", "--scale", "smoke", "--parts", "reports", "--again"])
    assert run.main() == 0
    assert ran[1:] == ["paper_repro.efficiency.report"]
