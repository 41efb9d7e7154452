"""A grid as Markdown, LaTeX, HTML, or a table in a terminal. Texts are escaped: names are whatever people chose.

Each format is a dozen lines here; pandas, which writes all of them, marks no cell as bold in Markdown, and is large.
"""

from __future__ import annotations

import re

from rich.table import Table
from rich.text import Text

from bayespeft.compare.layout import Cell, Grid
from bayespeft.report.view.pages import render
from bayespeft.utils.visible import visible

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "\n": " ",
}  # fmt: skip

MIDRULE = "    \\midrule\n"


def terminal(grid: Grid) -> Table:
    """Return a table that rich prints."""
    # Texts, since names may hold rich's brackets.
    table = Table(title=Text(visible(grid.title)), caption=Text(visible(grid.caption)), caption_justify="left")
    for i, name in enumerate(grid.header):
        # Where there is no room, texts go on below: cut off, they would tell nothing apart.
        table.add_column(Text(visible(name)), justify="left" if i < grid.labels else "right", overflow="fold")
    for block in grid.blocks:
        for row in block:
            # An interval goes below its figure, or it would be broken wherever there is no room.
            texts = (cell.text.replace(" [", "\n[") if i >= grid.labels else cell.text for i, cell in enumerate(row))
            table.add_row(
                *(Text(visible(t), style="bold" if cell.bold else "") for t, cell in zip(texts, row, strict=True))
            )
        table.add_section()
    return table


def markdown(grid: Grid) -> str:
    """Return a pipe table, as of GitHub, with title and caption as paragraphs."""
    marks = ["---" if i < grid.labels else "---:" for i in range(len(grid.header))]
    rows = [[_markdown_cell(cell) for cell in row] for block in grid.blocks for row in block]
    lines = [f"| {' | '.join(row)} |" for row in ([_markdown(name) for name in grid.header], marks, *rows)]
    return "\n".join([f"**{_markdown(grid.title)}**", "", *lines, "", _markdown(grid.caption), ""])


def latex(grid: Grid) -> str:
    """Return a table environment, no wider than the line; it needs the packages booktabs and graphicx."""
    columns = "l" * grid.labels + "r" * (len(grid.header) - grid.labels)
    blocks = ["".join(_latex_row(row) for row in block) for block in grid.blocks]
    return (
        "% \\usepackage{booktabs, graphicx}\n"
        "\\begin{table}\n"
        "  \\centering\n"
        # Plain classes leave no room between a caption and what is below it.
        "  \\setlength{\\belowcaptionskip}{1ex}\n"
        f"  \\caption{{{_latex(f'{grid.title}. {grid.caption}')}}}\n"
        "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"  \\begin{{tabular}}{{{columns}}}\n"
        "    \\toprule\n"
        f"{_latex_row(tuple(Cell(name) for name in grid.header))}"
        f"{MIDRULE}{MIDRULE.join(blocks)}"
        "    \\bottomrule\n"
        "  \\end{tabular}}\n"
        "\\end{table}\n"
    )


def page(grid: Grid) -> str:
    """Return a page of HTML that needs nothing else."""
    return render("grid", grid=grid, title=grid.title)


def card(grid: Grid) -> str:
    """Return the table, its title in the caption, as HTML to be shown inside something else."""
    return render("grid_card", grid=grid)


def _markdown(text: str) -> str:
    # Backslashes take the meaning from what Markdown would read; < and & would start HTML.
    escaped = re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def _markdown_cell(cell: Cell) -> str:
    text = _markdown(cell.text)
    return f"**{text}**" if cell.bold else text


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def _latex_row(row: tuple[Cell, ...]) -> str:
    cells = (rf"\textbf{{{_latex(cell.text)}}}" if cell.bold else _latex(cell.text) for cell in row)
    # Braces, or a cell that starts with [ would be read as the argument of the line break before it.
    first, *others = cells
    return f"    {{{first}}} & {' & '.join(others)} \\\\\n"
