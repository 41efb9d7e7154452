"""Lists the licences of all that is installed with the package: `python -m paper_repro.trust.licences > LICENCES.md`."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement


def installed(name: str, found: dict[str, Distribution] | None = None) -> dict[str, Distribution]:
    """Return a package and all that it needs here, by name, without extras."""
    found = {} if found is None else found
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return found
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return found
    found[key] = package
    for line in package.requires or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            installed(needed.name, found)
    return found


def licence(package: Distribution) -> str:
    """Return what a package says of its licence: an SPDX expression, classifiers, or the first line of its own words."""
    said: Any = package.metadata  # a message, of which stubs know less than it has
    classified = [
        line.rsplit(" :: ", 1)[-1] for line in said.get_all("Classifier") or () if line.startswith("License :: ")
    ]
    own = (said.get("License") or "").strip().splitlines()
    found = said.get("License-Expression") or ", ".join(classified) or (own[0] if own else "not said")
    return found.replace("|", "/")


def main() -> None:
    """Print a table in Markdown."""
    packages = installed("bayespeft")
    packages.pop("bayespeft", None)
    print("# Licences\nOf what is installed with the package, extras apart, as each package says it.\n")
    print("| package | licence |\n|---|---|")
    for name in sorted(packages):
        print(f"| {packages[name].metadata['Name']} | {licence(packages[name])} |")


if __name__ == "__main__":
    main()
