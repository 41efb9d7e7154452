"""The notebooks run from the first cell to the last, each in a namespace of its own, on tiny networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))


def cells(text):
    """Return the cells of a script in the percent format, as (kind, source)."""
    parts = re.split(r"^# %%(.*)\n", text, flags=re.M)
    return [
        ("markdown" if "[markdown]" in mark else "code", body)
        for mark, body in zip(parts[1::2], parts[2::2], strict=True)
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of few rows and few draws, which these are meant to have
def test_every_cell_runs_one_after_the_other(path, monkeypatch, tmp_path, capsys):
    if path.stem == "active_learning":
        pytest.importorskip("sklearn", reason="the digits are its")
    if path.stem == "lora_afterwards":
        pytest.importorskip("peft", reason="the LoRA is one of peft's")
    monkeypatch.setenv("BAYESPEFT_FAST", "1")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "notebook"}
    found = cells(path.read_text(encoding="utf-8"))
    assert found[0][0] == "markdown"
    for kind, source in found:
        if kind == "markdown":
            assert all(line.startswith("#") for line in source.split("\n") if line.strip())
        else:
            exec(compile(source, str(path), "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_is_a_page_of_the_site(path):
    page = ROOT / "docs" / "notebooks" / f"{path.stem.replace('_', '-')}.md"
    assert f'--8<-- "examples/notebooks/{path.name}"' in page.read_text(encoding="utf-8")
