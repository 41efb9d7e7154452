"""What methods there are: a mapping that prints as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from bayespeft import registry
from bayespeft.methods.base import Method

# Those to begin with, from the default on; every other one is for a purpose or a comparison.
FIRST = ("melora", "laplace_lora", "blob", "map", "mle")

ONE, CORE, FACTORS, LAST, LAPLACE, SAMPLES, OTHER = (
    "One network",
    "Variational, over a small core or scales",
    "Variational, over factors of the adapter",
    "Variational, over the output layer",
    "Laplace approximations",
    "Members, snapshots, dropout, no training",
    "Sparse values, subspaces, whole weights",
)
# Methods with these adapters stand under `CORE`: what is random is a small core, or scales.
_SMALL = ("core", "orthonormal_core", "scaled_rows", "rank_one")
# Methods with these stand under `OTHER`, whatever their guide.
_UNUSUAL = ("sparse_low_rank", "random_subspace", "subspace_core", "intrinsic", "full")


def family(method: Method) -> str:
    """Return the heading that a method stands under, by its adapter and guide."""
    if method.adapter.kind in _UNUSUAL:
        return OTHER
    if not method.guide.stochastic:
        return ONE
    if method.guide.kind.startswith("laplace"):
        return LAPLACE
    if method.guide.kind == "variational_last_layer":
        return LAST
    if not method.guide.variational or method.guide.kind == "dropout":
        return SAMPLES
    return CORE if method.adapter.kind in _SMALL else FACTORS


class Methods(Mapping[str, Method]):
    """Name -> method, read from the registry. `print` shows them by family, `markdown()` writes them for a page."""

    def __getitem__(self, name: str) -> Method:
        method: Method = registry.get("methods", name)
        return method

    def __iter__(self) -> Iterator[str]:
        return iter(registry.names("methods"))

    def __len__(self) -> int:
        return len(registry.names("methods"))

    def families(self) -> dict[str, list[str]]:
        """Return the names under each heading: those to begin with, then the others by family."""
        found: dict[str, list[str]] = {"To begin with": [name for name in FIRST if name in self]}
        for heading in (CORE, FACTORS, LAST, LAPLACE, SAMPLES, ONE, OTHER):
            found[heading] = [name for name, m in self.items() if name not in FIRST and family(m) == heading]
        return {heading: names for heading, names in found.items() if names}

    def _row(self, name: str) -> tuple[str, str, str, str, str]:
        method = self[name]
        return name, method.summary, method.adapter.kind, method.guide.kind, method.reference

    def table(self) -> Table:
        """Return a rich table."""
        table = Table("method", "what it is", "adapter", "guide", "reference")
        for heading, names in self.families().items():
            table.add_row(f"[bold]{heading}[/bold]")
            for name in names:
                table.add_row(*self._row(name))
            table.add_section()
        return table

    def markdown(self, others: bool = True) -> str:
        """Return Markdown tables: those to begin with, and, unless `others` is False, all others by family, folded."""
        header = ["| method | what it is | adapter | guide | reference |", "|---|---|---|---|---|"]

        def table(names: list[str]) -> str:
            rows = (self._row(name) for name in names)
            return "\n".join(header + [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows])

        (_, first), *families = self.families().items()
        if not others:
            return table(first)
        parts = [f"**{heading}**\n\n{table(names)}" for heading, names in families]
        folded = "\n\n".join(["<details><summary>All others, by family</summary>", *parts, "</details>"])
        return f"{table(first)}\n\n{folded}"

    def __repr__(self) -> str:
        console = Console(width=160, color_system=None)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()


def methods() -> Methods:
    """Return the mapping from a method's name to the method."""
    return Methods()
