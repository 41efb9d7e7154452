"""What methods there are: a mapping that prints as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from bayespeft import registry
from bayespeft.methods.base import Method


class Methods(Mapping[str, Method]):
    """Name -> method, read from the registry. `print` shows the table, `markdown()` writes it for a README."""

    def __getitem__(self, name: str) -> Method:
        method: Method = registry.get("methods", name)
        return method

    def __iter__(self) -> Iterator[str]:
        return iter(registry.names("methods"))

    def __len__(self) -> int:
        return len(registry.names("methods"))

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        return [(name, m.summary, m.adapter.kind, m.guide.kind, m.reference) for name, m in self.items()]

    def table(self) -> Table:
        """Return a rich table."""
        table = Table("method", "what it is", "adapter", "guide", "reference")
        for row in self._rows():
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return a Markdown table."""
        header = ["| method | what it is | adapter | guide | reference |", "|---|---|---|---|---|"]
        return "\n".join(header + [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in self._rows()])

    def __repr__(self) -> str:
        console = Console(width=160, color_system=None)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()


def methods() -> Methods:
    """Return the mapping from a method's name to the method."""
    return Methods()
