"""The files of versions pin what pyproject.toml names: the newest that were seen green, and the lowest that it promises."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
FILES = ("constraints.txt", "constraints-lowest.txt")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")

if not all((ROOT / name).exists() for name in FILES):
    pytest.skip("the files of versions are only in the repository", allow_module_level=True)


def promised() -> list[Requirement]:
    """What pyproject.toml asks for, the extras' requirements included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(line) for line in [*project["dependencies"], *(line for extra in extras for line in extra)]]


def pins(name: str) -> list[Requirement]:
    """The lines of a file of versions, of which none may name an index, a path or an address."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def version(pin: Requirement) -> str:
    """The one version that a line allows."""
    (only,) = pin.specifier
    assert only.operator == "=="
    assert "*" not in only.version
    assert pin.url is None
    return only.version


def holds(requirement: Requirement, python: str) -> bool:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("name", FILES)
def test_each_line_pins_one_version_and_none_is_of_cuda(name):
    names = {pin.name for pin in pins(name) if version(pin)}
    assert len(names) > 60
    assert not [name for name in names if re.match("nvidia|cuda|triton", name)]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_promised_is_pinned_once_within_its_bounds(name, python):
    found: dict[str, list[str]] = {}
    for pin in pins(name):
        if holds(pin, python):
            found.setdefault(canonicalize_name(pin.name), []).append(version(pin))
    for requirement in promised():
        if holds(requirement, python):
            (only,) = found[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(only), requirement


def test_lowest_are_the_bounds_but_for_torch():
    lowest = {canonicalize_name(pin.name): version(pin) for pin in pins("constraints-lowest.txt")}
    for requirement in promised():
        if requirement.name != "torch":
            (bound,) = (bound.version for bound in requirement.specifier if bound.operator == ">=")
            assert Version(lowest[canonicalize_name(requirement.name)]) == Version(bound), requirement


def test_torch_is_the_makefiles():
    pinned = re.search(r"^TORCH := torch==(\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for name in FILES:
        assert [version(pin) for pin in pins(name) if pin.name == "torch"] == [pinned[1]]
