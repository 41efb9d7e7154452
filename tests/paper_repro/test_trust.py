"""What is done by `python -m paper_repro.trust` to count, done here to be sure: nothing foreign, nothing silent."""

from __future__ import annotations

import ast
import importlib.util

import pytest

pytest.importorskip("paper_repro.trust.subject", reason="the measurements are only in the repository")
from paper_repro.trust.bases import bases
from paper_repro.trust.flips import flips
from paper_repro.trust.loras import loras
from paper_repro.trust.mutate import NAMED, TARGETS, Changed, named
from paper_repro.trust.operators import mutants
from paper_repro.trust.outcome import Tally
from paper_repro.trust.states import states
from paper_repro.trust.structure import structure
from paper_repro.trust.subject import Subject


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return Subject(tmp_path_factory.mktemp("subject"))


def test_what_can_not_be_is_refused_under_any_digest(subject):
    for tally in structure(subject):
        assert (tally.counts["foreign"], tally.counts["silent"]) == (0, 0), tally.seen
        assert tally.counts["refused"] > 300
        assert len(tally.harmless) < 10


def test_a_state_of_this_fit_with_other_content_is_refused(subject):
    (tally,) = states(subject)
    assert (tally.counts["foreign"], tally.counts["silent"]) == (0, 0), tally.seen
    assert tally.counts["refused"] > 100


def test_a_base_that_was_changed_is_refused(tmp_path):
    loaded, resumed = bases(tmp_path)
    for tally in (loaded, resumed):
        assert (tally.counts["foreign"], tally.counts["silent"]) == (0, 0), tally.seen
        assert tally.harmless[:2] == ["nothing", "another attribute"]
        assert tally.counts["refused"] > 20
    assert loaded.counts["same"] == 2
    assert resumed.harmless[2:] == ["the same data"]


def test_a_lora_whose_settings_can_not_be_is_refused(subject):
    (tally,) = loras(subject)
    assert (tally.counts["foreign"], tally.counts["silent"]) == (0, 0), tally.seen


def test_no_bit_flips_without_a_word(subject):
    for tally in flips(subject, 25):
        assert (tally.counts["foreign"], tally.counts["silent"]) == (0, 0), (tally.fault, tally.seen)
        assert tally.counts["refused"]


def test_each_outcome_is_counted_as_what_it_is(subject):
    tally = Tally("any")

    def foreign():
        raise KeyError("x")

    tally.attempt("foreign", foreign, subject.expected)
    tally.attempt("same", lambda: subject.loaded(subject.posterior), subject.expected)
    tally.attempt("refused", lambda: subject.loaded(subject.folder), subject.expected)
    tally.attempt("silent", lambda: subject.expected + 0.25, subject.expected)
    record = tally.record()
    assert [record[name] for name in ("tried", "same", "refused", "foreign", "silent")] == [4, 1, 1, 1, 1]
    assert record["largest"] == pytest.approx(0.25)
    assert record["seen"] == ["foreign: foreign: KeyError: 'x'", "silent: silent"]


SOURCE = """
def f(a: int = 2) -> bool:
    '''Say 3.'''
    if a < 1 and not a:
        raise ValueError("at least 1" + str(4))
    return -a * max(a, 5) >= 0.5
"""


def test_each_mutant_is_one_change_of_what_a_program_does():
    found = list(mutants(SOURCE))
    assert [mutant.change for mutant in found] == [
        "2 -> 3", "And -> Or", "Lt -> LtE", "1 -> 2", "not -> not not", "GtE -> Gt", "Mult -> Div", "the sign is lost",
        "max -> min", "5 -> 6", "0.5 -> 1.0",
    ]  # fmt: skip
    whole = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in found:
        changed = ast.unparse(mutant.tree).splitlines()
        assert sum(one != other for one, other in zip(whole, changed, strict=True)) == 1
        assert mutant.text == SOURCE.splitlines()[mutant.line - 1].strip()


def test_a_changed_module_is_what_it_was_but_for_the_change():
    """Whoever reads the package's sources, as the registry does, must not fail for that, or every mutant would be killed."""
    (target,) = (one for one in TARGETS if one.module == "bayespeft.report.metrics.detection")
    source = target.path.read_text(encoding="utf-8")
    spec = Changed(target, ast.parse(source + "\nCHANGED = True\n")).find_spec(target.module, None)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.CHANGED
    assert spec.loader.get_source(target.module) == source
    assert module.__file__ == str(target.path)
    assert Changed(target, ast.parse(source)).find_spec("bayespeft.report.metrics.proper", None) is None


def test_changes_that_once_survived_can_still_be_made():
    assert len(list(named())) == len(NAMED)
