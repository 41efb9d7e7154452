"""The house: the picture in CONTRIBUTING.md is the code's, the top floor is small, and no modules import in a circle."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "bayespeft"


@pytest.fixture(scope="module")
def picture() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```")[1]


def test_the_picture_names_every_room_and_no_other(picture):
    named = set(re.findall(r"(?<![\w/])([a-z_]+)/", picture)) - {"bayespeft", "tests", "examples", "paper_repro"}
    assert named == {folder.parent.name for folder in HOUSE.glob("*/__init__.py")}


def test_the_picture_names_modules_that_are_there(picture):
    there = {path.name for path in HOUSE.rglob("*.py")}
    assert set(re.findall(r"[a-z_]+\.py", picture)) <= there


def test_at_most_ten_modules_are_on_the_top_floor():
    assert len(list(HOUSE.glob("*.py"))) <= 10


def test_modules_import_in_no_circle():
    graph = grimp.build_graph("bayespeft")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert _circles(imports) == []


def _circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that reach each other."""
    reach = {module: _reached(module, imports) for module in imports}
    circles = {frozenset(other for other in reach[m] if m in reach[other]) for m in imports if m in reach[m]}
    return sorted(sorted(circle) for circle in circles)


def _reached(start: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(imports[start])
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo += imports[module]
    return found


def test_the_page_s_five_lines_are_those_of_a_package_that_is_tested():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = (ROOT / "tests/strangers/planar_flow/test_planar_flow.py").read_text(encoding="utf-8")
    assert f"```python\n{lines}```" in page


ROOMS_OF_CONTRACTS = {"adapters", "guides", "likelihoods", "methods", "priors"}
"""What is registered there is run over by tests/contracts, all of it."""

TESTED_ELSEWHERE = {
    # Parts of one page, one command or one table, which nobody else calls.
    "cli/test_compare.py": ("cli/shown", "cli/study"),
    "cli/test_predict.py": ("data/stream",),
    "cli/test_report.py": ("cli/written", "posterior/calibration"),
    "compare/test_engines.py": ("compare/ray", "compare/slurm"),
    "compare/test_entry.py": ("compare/comparison", "compare/run", "compare/study", "task"),
    "compare/test_file.py": ("compare/data_set",),
    "compare/test_formats.py": ("compare/columns", "compare/groups"),
    "report/view/test_page.py": (
        "report/view/language", "report/view/mixture", "report/view/multi_label", "report/view/regression",
        "report/view/table", "report/view/tokens",
    ),
    "generation/test_result.py": ("report/view/generation",),
    # Base classes and mixins: what they do shows in the classes that stand on them.
    "contracts/test_priors.py": ("priors/base",),
    "data/test_source.py": ("data/examples",),
    "generation/test_generate.py": ("posterior/writing",),
    "guides/test_gaussian.py": ("guides/base", "variational/joint_guide"),
    "integrations/test_collator.py": ("integrations/row_reading",),
    "integrations/test_trainer.py": ("integrations/arguments", "integrations/training", "networks/trainers"),
    "io/test_hub.py": ("posterior/exported",),
    "predictive/test_evaluation.py": ("predictive/class_labels", "report/predictions"),
    "predictive/test_several.py": ("predictive/base",),
    "report/test_json_report.py": ("report/base",),
    # Reached through the one module that builds on them, which takes what they give.
    "adapters/test_framed.py": ("fitting/stacking",),
    "analysis/test_weight_covariance.py": ("variational/latent_root",),
    "data/test_builtin.py": ("data/builtin/wic", "data/hub"),
    "fitting/test_adaptation.py": ("fitting/on_network", "fitting/reader"),
    "fitting/test_fit.py": ("fitting/assembly",),
    "likelihoods/test_encoding.py": ("likelihoods/text",),
    "likelihoods/test_language_modelling.py": ("predictive/language",),
    "likelihoods/test_sequence_classification.py": ("likelihoods/named_classes",),
    "likelihoods/test_token_classification.py": ("likelihoods/words", "predictive/tokens"),
    "predictive/test_law.py": ("report/mixture",),
    "training/test_held_out.py": ("data/subset",),
    "training/test_loop.py": ("fitting/units",),
    "training/test_gradients.py": ("training/differences", "training/path"),
    "training/test_problem.py": ("data/passes",),
    "layers/test_network.py": ("utils/sharded",),
}  # fmt: skip
"""Modules without a test file of their own -> the test file that calls them."""


def _modules_with_code() -> set[str]:
    """Return the modules that define a function, but for registered classes of rooms under a contract.

    What is in bayespeft.testing are tests themselves, which tests/contracts and tests/strangers run.
    """
    found = set()
    for path in HOUSE.rglob("*.py"):
        name = path.relative_to(HOUSE).with_suffix("").as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        code = any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))
        room = name.split("/")[0]
        registered = room in ROOMS_OF_CONTRACTS and isinstance(tree.body[-1], ast.Assign)
        if code and not registered and room != "testing" and not path.name.startswith("__"):
            found.add(name)
    return found


def _has_own_test(module: str) -> bool:
    *room, name = module.split("/")
    return (ROOT / "tests" / "/".join(room) / f"test_{name}.py").is_file()


def test_every_module_has_a_test_file_of_its_name_or_says_which_other():
    elsewhere = [module for modules in TESTED_ELSEWHERE.values() for module in modules]
    assert len(elsewhere) == len(set(elsewhere))
    assert {module for module in _modules_with_code() if not _has_own_test(module)} == set(elsewhere)
    assert [test for test in TESTED_ELSEWHERE if not (ROOT / "tests" / test).is_file()] == []
