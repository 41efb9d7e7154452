"""Strangers: packages of their own, which edit nothing in the house and are found by their entry points.

Each one's tests run with it installed, and with it alone: a folder with what pip writes there (the name, the entry points of
its pyproject.toml) stands on the path, and is gone afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bayespeft import registry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def write_info(package: Path, folder: Path) -> None:
    """Write the dist-info folder of a package that lies beside it."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items())])
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups) + "\n", encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def _installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("layer-packages")
    write_info(request.path.parent, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        registry.forget()
        yield
    registry.forget()
