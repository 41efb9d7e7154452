"""The documentation says what the code and the results file say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bayespeft

tables = pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_written_from_the_results_file(page):
    text = page.read_text(encoding="utf-8")
    assert tables.render(text) == text, "run python -m paper_repro.tables"


def test_pages_list_every_method_and_the_readme_those_to_begin_with():
    listed = {
        page: set(re.findall(r"^\| `(\w+)` \|", (ROOT / page).read_text(encoding="utf-8"), flags=re.M))
        for page in ("README.md", "docs/papers.md")
    }
    assert listed["README.md"] == set(bayespeft.catalogue.FIRST)
    assert listed["docs/papers.md"] >= set(bayespeft.methods())


def test_a_page_without_the_results_would_fail():
    page = "<!-- methods -->\nold\n<!-- end -->"
    assert "old" not in tables.render(page)


def test_methods_are_compared_on_the_same_cells_and_never_one_alone():
    from paper_repro.defaults.choice import _comparable

    both, one = {"mle": {}, "melora": {}}, {"melora": {}}
    assert _comparable([both, one]) == (["mle", "melora"], [both])
    assert _comparable([both, one, one, {"blob": {}}]) == (["mle", "melora"], [both])
    assert _comparable([one, one]) == (["melora"], [one, one])


def test_the_citation_says_what_its_format_asks_for():
    """What the schema of the Citation File Format 1.2.0 requires, and whom to name: a person or an entity."""
    import yaml

    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert found.keys() >= {"cff-version", "message", "title", "authors"}
    assert found["cff-version"] == "1.2.0"
    assert all("name" in author or {"family-names", "given-names"} & author.keys() for author in found["authors"])
    assert found["type"] == "software"
    assert found["license"] in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
