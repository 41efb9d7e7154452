"""A result of code that has changed is no result of today's."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

import bayespeft
from bayespeft.compare import code as module
from bayespeft.compare.code import code

PRIOR = '''
"""A prior."""
from bayespeft.priors.normal import Normal
from their_priors.helper import SCALE

class Wide(Normal):
    scale: float = SCALE  # wide
'''


def test_parts_of_this_package_have_hashes_of_their_own() -> None:
    melora, blob = (code(bayespeft.methods()[name]) for name in ("melora", "blob"))
    assert set(melora) == {"adapters/core", "guides/mean_field", "priors/fan_in"}
    assert melora["guides/mean_field"] == blob["guides/mean_field"]
    assert len(set(melora.values())) == 3


@pytest.fixture
def written(tmp_path: Any, monkeypatch: Any) -> Any:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(prior: str = PRIOR, helper: str = "SCALE = 3.0\n") -> str:
        folder = tmp_path / "their_priors"
        folder.mkdir(exist_ok=True)
        for name, text in (("__init__", ""), ("prior", prior), ("helper", helper)):
            (folder / f"{name}.py").write_text(text)
        for name in [name for name in sys.modules if name.startswith("their_priors")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        module._runs.cache_clear()
        wide = importlib.import_module("their_priors.prior").Wide
        return next(
            v for k, v in code(bayespeft.methods()["melora"].replace(latent_prior=wide())).items() if "Wide" in k
        )

    yield write
    for name in [name for name in sys.modules if name.startswith("their_priors")]:
        del sys.modules[name]


def test_a_hash_follows_what_runs_and_nothing_else(written: Any) -> None:
    first = written()
    assert (
        written(PRIOR.replace('"""A prior."""', '"""Another docstring."""').replace("# wide", "# a comment")) == first
    )
    assert written(PRIOR.replace("(Normal)", "( Normal )")) == first
    assert written(helper="SCALE = 4.0\n") != first
    assert written(PRIOR + "    more: int = 1\n") != first


def test_code_that_nobody_can_read_is_known_to_no_other_process(monkeypatch: Any) -> None:
    from bayespeft.priors.normal import Normal

    typed = type("Typed", (Normal,), {"__module__": "shell"})
    monkeypatch.setitem(sys.modules, "shell", type(sys)("shell"))
    hashes = set()
    for _ in range(2):
        module._of.cache_clear()
        found = code(bayespeft.methods()["melora"].replace(latent_prior=typed(scale=1.0)))
        assert code(bayespeft.methods()["melora"].replace(latent_prior=typed(scale=1.0))) == found
        hashes.add(found["priors/shell.Typed"])
    assert len(hashes) == 2
