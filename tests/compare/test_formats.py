"""Tables of made-up runs as Markdown, LaTeX, HTML and in a terminal: the same figures, and names stay text."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree
from html.parser import HTMLParser

import pytest
from rich.console import Console

from bayespeft.compare import Comparison
from bayespeft.compare.formats import LATEX
from tests.compare.conftest import made_up

NASTY = "a|b_c & 100% <script>alert(1)</script> $x$ ~^#{}\\ [bold]*`\"'"


@pytest.fixture
def two():
    return Comparison(tuple(made_up(method, seed) for method in ("a", "b") for seed in (0, 1)))


@pytest.fixture
def nasty():
    return Comparison((made_up("a", title=NASTY, data=NASTY), made_up("b", data=NASTY)))


class Texts(HTMLParser):
    """Tags and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def cells(markdown):
    """Rows of a pipe table, without backslashes."""
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_all_formats_say_the_same(two):
    header, _, *rows = [[cell.strip() for cell in row] for row in cells(two.to_markdown())]
    figures = ["accuracy (%)", "NLL (nats)", "Brier score", "ECE (%)", "AUROC of errors"]
    assert header == ["method", *figures, "fit (s)", "trainable"]
    assert [row[0] for row in rows] == ["A", "B"]
    assert rows[0][-2:] == ["3", "1,234"]
    page, tex = Texts(two.to_html()), two.to_latex()
    console = Console(file=io.StringIO(), width=200)
    console.print(two.table())
    for row in rows:
        assert tex.count(" & ".join([f"{{{row[0]}}}", *(cell.replace("±", r"$\pm$") for cell in row[1:])])) == 1
        for cell in row:
            assert cell in page.texts
            assert cell in console.file.getvalue()
    assert tex.count(r"\midrule") == 1
    assert r"\begin{tabular}{lrrrrrrr}" in tex


def test_names_go_on_below_where_there_is_no_room():
    """Five figures with intervals and two names are wider than 120."""
    runs = (made_up(method, data=data, title=f"{method} of long") for data in ("newsgroups", "sst2") for method in "ab")
    console = Console(file=io.StringIO(), width=120)
    console.print(Comparison(tuple(runs)).table())
    rows = [line.split("│")[1:-1] for line in console.file.getvalue().splitlines() if line.count("│") == 10]
    assert rows[0][0].strip() == "newsgroups"
    assert "".join(row[1].strip() for row in rows[:2]).startswith("a of")
    assert "…" not in console.file.getvalue()


def test_names_stay_text(nasty):
    page = Texts(nasty.to_html())
    assert "script" not in page.tags
    assert NASTY in page.texts
    assert cells(nasty.to_markdown())[2][0].strip() == NASTY.replace("<", "&lt;").replace("&", "&amp;").replace(
        "&amp;lt;", "&lt;"
    )
    console = Console(file=io.StringIO(), width=400)
    console.print(nasty.table())
    assert NASTY in console.file.getvalue()
    body = nasty.to_latex().split(r"\toprule")[1]
    (row,) = [line for line in body.splitlines() if "alert" in line]
    name = row.strip().split("} & ")[0][1:]
    # Without what is escaped, nothing that TeX would read as a command is left.
    for escape in sorted(LATEX.values(), key=len, reverse=True):
        name = name.replace(escape, "")
    assert not set(name) & set("\\{}$&#_%~^<>|")


def test_a_page_is_well_formed(nasty):
    # What XML has no name for is written as XML would have it, so that its parser can judge the nesting.
    page = nasty.to_html().removeprefix("<!doctype html>")
    page = re.sub(r"<(meta[^>]*)>", r"<\1/>", page)
    root = xml.etree.ElementTree.fromstring(page)
    assert [len(row) for row in root.iter("tr")] == [8, 8, 8]
    assert not re.search(r"(src|href)=", page)


def test_a_notebook_shows_the_table_and_nothing_else_changes(nasty):
    card = nasty._repr_html_()
    found = Texts(card)
    assert set(found.tags) == {"style", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert NASTY in found.texts
    assert f"net on {NASTY}. One seed" in next(text for text in found.texts if "One seed" in text)
    style = card[card.index("<style>") + len("<style>") : card.index("</style>")]
    selectors = [part.strip() for rule in style.split("}")[:-1] for part in rule.split("{")[0].split(",")]
    assert len(selectors) > 7
    assert all(selector.startswith(".bp-grid") for selector in selectors)


def test_a_cell_after_a_line_break_is_no_argument_of_it():
    runs = (made_up("a", title="[x]"), made_up("b", title="[y]"))
    assert "{[x]} & " in Comparison(runs).to_latex()


def test_captions_say_what_the_numbers_are(two):
    text = two.to_markdown()
    assert "**net on made-up**" in text
    assert "Mean ± standard deviation over 2 seeds, 4 draws" in text
    assert "8 training examples, 20 test examples in 2 classes" in text
    one = Comparison((made_up("a"), made_up("b"))).to_markdown()
    assert r"One seed \[95 % interval\]" in one
    assert "over test examples, for this one seed (of accuracy McNemar's exact test, else a t-test), with Holm" in one
    assert "Bold" not in Comparison((made_up("a"),)).to_markdown()


def test_captions_say_where_runs_were_made_differently():
    one, other = made_up("a"), made_up("b")
    for run, number in ((one, 0), (other, 1)):
        run |= {"device": f"cuda:{number}", "versions": {"bayespeft": "1.0", "torch": "2.8"}}
    assert "different" not in Comparison((one, other)).to_markdown()
    other["versions"] = {"bayespeft": "1.1", "torch": "2.8"}
    other["device"] = "cpu"
    said = "Runs were made with different software or devices: device cpu and cuda, bayespeft 1.0 and 1.1."
    assert said in Comparison((one, other)).to_markdown()
    assert "bayespeft 1.0 and unknown, torch 2.8 and unknown" in Comparison((one, made_up("b"))).to_markdown()


def test_a_data_set_is_a_block_and_missing_seeds_are_said():
    runs = [made_up(method, seed, data=data) for data in ("x", "y") for method in ("a", "b") for seed in (0, 1, 2)]
    comparison = Comparison(tuple(run for run in runs if (run["data"], run["method"], run["seed"]) != ("y", "b", 1)))
    text = comparison.to_markdown()
    assert "**net on 2 data sets**" in text
    assert [row[:2] for row in cells(text)[2:]] == [[" x ", " A "], [" x ", " B "], [" y ", " A "], [" y ", " B "]]
    assert "B on y: 2 of 3 seeds" in text
    assert comparison.to_latex().count(r"\midrule") == 2
    assert Texts(comparison.to_html()).tags.count("tbody") == 2
    assert {row["data"] for row in comparison.tests} == {"x", "y"}


def test_latex_is_no_wider_than_the_line_and_its_groups_close(two, nasty):
    for tex in (two.to_latex(), nasty.to_latex()):
        assert tex.index(r"\resizebox{\ifdim\width>\linewidth") < tex.index(r"\begin{tabular}")
        depth, depths = 0, []
        for brace in re.sub(r"\\[{}]", "", tex):
            depth += (brace == "{") - (brace == "}")
            depths.append(depth)
        assert min(depths) == depths[-1] == 0
        opened, closed = re.findall(r"\\begin{(\w+)}", tex), re.findall(r"\\end{(\w+)}", tex)
        assert opened == closed[::-1] == ["table", "tabular"]
