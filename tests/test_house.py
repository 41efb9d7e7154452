"""The house: the picture in CONTRIBUTING.md is the code's, the top floor is small, and no modules import in a circle."""

from __future__ import annotations

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
