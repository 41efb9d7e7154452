"""Tables of comparisons, as a grid of cells, whatever their methods are called."""

from __future__ import annotations

from rich.console import Console

from bayespeft.compare.formats import terminal
from bayespeft.compare.layout import Cell, Grid
from bayespeft.report.view.pages import render
from bayespeft.utils.visible import visible

HOSTILE = "a\x1b[31mb\r\x9b2J\u202ec\u2066d\x00\x07"


def test_a_page_escapes_once():
    assert visible("<b>\x1b") == "<b>\\x1b"
    assert "<title>&lt;b&gt;\\x1b" in render(
        "grid", grid=Grid("t", ("x",), 1, (((Cell("y"),),),), "c"), title="<b>\x1b"
    )


def test_no_table_of_a_comparison_holds_what_its_methods_are_called():
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(terminal(Grid(HOSTILE, (HOSTILE,), 1, (((Cell(HOSTILE),),),), HOSTILE)))
    assert not set(captured.get()) & set("\x1b\r\x9b\u202e\u2066\x00\x07")
