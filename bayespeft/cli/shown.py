"""How tables are shown on a terminal, and in a file."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def show(table: Table) -> None:
    """Print a table to standard output."""
    console = Console()
    # What is written into a file or a log has no window that it must fit into.
    Console(width=None if console.is_terminal else 150, markup=False).print(table)
