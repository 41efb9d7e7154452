"""Each room hands out its classes by name, when they are asked for; type checkers and editors see the same ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from bayespeft import registry

ROOMS = registry.PLUGINS


def listed(room: str) -> dict[str, str]:
    """What stands under TYPE_CHECKING in a room's `__init__.py`: name -> the module that it is imported from."""
    path = import_module(f"bayespeft.{room}").__file__
    assert path is not None
    (block,) = (node for node in ast.parse(Path(path).read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {str(alias.asname): str(node.module) for node in imports for alias in node.names}


@pytest.mark.parametrize("room", ROOMS)
def test_type_checkers_see_every_class_of_a_room(room):
    package, found = import_module(f"bayespeft.{room}"), listed(room)
    missing = [
        f"from {getattr(package, name).__module__} import {name} as {name}"
        for name in dir(package)
        if name not in found
    ]
    assert not missing, f"bayespeft/{room}/__init__.py lacks, under TYPE_CHECKING: {'; '.join(missing)}"
    assert sorted(found) == dir(package), "a name under TYPE_CHECKING is none that the room hands out"
    assert all(getattr(import_module(module), name) is getattr(package, name) for name, module in found.items())


@pytest.mark.parametrize("room", ROOMS)
def test_a_class_is_called_as_its_name_says(room):
    for name in registry.names(room):
        cls = registry.get(room, name)
        assert cls.__name__.lower() == name.replace("_", "")
        assert getattr(import_module(f"bayespeft.{room}"), cls.__name__) is cls


def test_a_name_that_nothing_has_is_told_with_the_nearest():
    with pytest.raises(AttributeError, match=r"no attribute 'MeanFeild'\. Did you mean MeanField"):
        import_module("bayespeft.guides").MeanFeild  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        from bayespeft.priors import Nothing  # noqa: F401


def test_a_room_imports_a_class_only_when_it_is_asked_for():
    code = """
import sys
import bayespeft.guides as guides
dir(guides)
print("bayespeft.guides.swag" in sys.modules)
guides.Swag
print("bayespeft.guides.swag" in sys.modules, "bayespeft.guides.ivon" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True", "False"]
