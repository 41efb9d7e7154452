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
    "adapters/test_framed.py": ("fitting/stacking",),
    "adapters/test_sparse_low_rank.py": ("analysis/pruning", "training/warmup"),
    "analysis/test_weight_covariance.py": ("analysis/q_law", "variational/latent_root"),
    "cli/test_compare.py": ("cli/shown", "cli/study"),
    "cli/test_doctor.py": ("cli/plan",),
    "cli/test_fit.py": ("training/progress",),
    "cli/test_predict.py": ("data/stream",),
    "cli/test_report.py": ("cli/written",),
    "compare/test_engines.py": ("compare/slurm",),
    "compare/test_entry.py": ("compare/comparison", "compare/run", "compare/study", "task"),
    "compare/test_file.py": ("compare/data_set",),
    "compare/test_formats.py": ("compare/columns", "compare/groups", "compare/layout"),
    "contracts/test_adapters.py": ("testing/adapters", "testing/fits", "testing/networks"),
    "contracts/test_guides.py": ("testing/guides", "testing/laws"),
    "contracts/test_likelihoods.py": ("likelihoods/base", "testing/likelihoods"),
    "contracts/test_methods.py": ("methods/base", "testing/methods"),
    "contracts/test_priors.py": ("priors/base", "testing/priors"),
    "data/test_builtin.py": ("data/builtin/base", "data/builtin/newsgroups", "data/builtin/wic", "data/hub"),
    "data/test_rows.py": ("data/row_view", "data/table"),
    "data/test_source.py": ("data/examples", "data/unlabelled"),
    "data/test_tensors.py": ("data/checks",),
    "fitting/test_adaptation.py": ("fitting/objective", "fitting/on_network", "fitting/reader"),
    "fitting/test_fit.py": ("fitting/assemble", "fitting/assembly", "fitting/load"),
    "fitting/test_process_noise.py": ("fitting/elbo_terms", "utils/processes"),
    "gaussians/test_base.py": (
        "gaussians/diagonal", "gaussians/full", "gaussians/rotated", "gaussians/rows", "gaussians/triangular",
    ),
    "generation/test_generate.py": (
        "generation/choice", "generation/decode", "generation/prompts", "generation/settings", "generation/stops",
        "posterior/writing",
    ),
    "generation/test_result.py": ("report/view/generation",),
    "guides/test_gaussian.py": ("guides/base", "variational/joint_guide"),
    "integrations/test_trainer.py": ("integrations/arguments", "integrations/training", "networks/trainers"),
    "io/test_hub.py": ("fitting/from_pretrained", "posterior/exported"),
    "io/test_peft.py": ("fitting/import_lora", "io/peft_export", "networks/embeddings"),
    "layers/test_heads.py": ("networks/bodies",),
    "layers/test_merged.py": ("io/merge", "training/refresh"),
    "likelihoods/test_encoding.py": ("likelihoods/text",),
    "likelihoods/test_language_modelling.py": ("likelihoods/language_rows", "predictive/language"),
    "likelihoods/test_regression.py": ("training/noise",),
    "likelihoods/test_token_classification.py": ("likelihoods/words", "predictive/tokens"),
    "posterior/test_account.py": ("training/history",),
    "posterior/test_predicting.py": ("posterior/fitted",),
    "prediction/test_predictor.py": ("prediction/passes", "prediction/rounds"),
    "predictive/test_categorical.py": ("predictive/average",),
    "predictive/test_evaluation.py": ("predictive/class_labels", "report/predictions"),
    "predictive/test_law.py": ("likelihoods/categorical", "predictive/mixture", "report/mixture"),
    "predictive/test_several.py": ("predictive/base", "predictive/multi_label"),
    "report/metrics/test_calibration.py": ("report/metrics/cells", "report/metrics/smooth"),
    "report/metrics/test_selective.py": ("report/metrics/tally",),
    "report/test_bootstrap.py": ("report/metrics/intervals",),
    "report/test_conformal.py": ("report/metrics/conformal",),
    "report/test_ood.py": ("report/detection_intervals",),
    "report/test_json_report.py": ("report/base",),
    "report/test_regression.py": ("report/view/regression_plots",),
    "report/view/test_page.py": (
        "report/context", "report/view/calibration", "report/view/calibration_charts", "report/view/language",
        "report/view/mixture", "report/view/multi_label", "report/view/pages", "report/view/regression",
        "report/view/table", "report/view/tokens",
    ),
    "test_wrong_types.py": ("errors",),
    "training/test_alternating.py": ("training/steps",),
    "training/test_held_out.py": ("data/subset", "training/trainer"),
    "training/test_loop.py": ("fitting/units", "training/optimiser", "variational/adapted"),
    "training/test_problem.py": ("data/passes",),
    "training/test_resume.py": ("training/usable", "utils/interrupts"),
    "variational/test_reported.py": ("guides/transformed",),
}  # fmt: skip
"""Modules without a test file of their own -> the test file that calls them."""


def _modules_with_code() -> set[str]:
    """Return the modules that define a function or a class, but for registered classes of rooms under a contract."""
    found = set()
    for path in HOUSE.rglob("*.py"):
        name = path.relative_to(HOUSE).with_suffix("").as_posix()
        body = ast.parse(path.read_text(encoding="utf-8")).body
        code = any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in body)
        registered = name.split("/")[0] in ROOMS_OF_CONTRACTS and isinstance(body[-1], ast.Assign)
        if code and not registered and not path.name.startswith("__"):
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
