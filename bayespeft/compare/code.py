"""The code of a method's parts, as hashes: a result of other code is no result of this one.

A hash is of what runs: comments, docstrings and layout do not count. Of a part of this package it covers the files of its
class and of the classes that it inherits from; of another package's, every file of that package.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bayespeft.config import Plugin
from bayespeft.io.savable import parts
from bayespeft.methods.base import Method

OWN = __name__.partition(".")[0]


def code(method: Method) -> dict[str, str]:
    """Return a hash of the code of each part of a method, by its kind.

    Where the code can't be read (classes typed into a shell), the hash is one that no other process has.
    """
    own = (method.adapter, method.guide, method.latent_prior, method.point_prior, method.head_prior)
    return {f"{type(p).room}/{p.kind}": _of(type(p)) for part in own for p in parts(part)}


@cache
def _of(cls: type[Plugin]) -> str:
    files = sorted(set(_files(cls)))
    if not all(path.is_file() for path in files):
        return uuid.uuid4().hex[:16]
    found = hashlib.sha256()
    for path in files:
        found.update(_runs(path))
    return found.hexdigest()[:16]


def _files(cls: type[Plugin]) -> Iterator[Path]:
    for base in cls.__mro__:
        if not issubclass(base, Plugin) or base is Plugin:
            continue
        package, _, inside = base.__module__.partition(".")
        folders = getattr(sys.modules[package], "__path__", ()) if package != OWN else ()
        if folders and inside:
            yield from (path for folder in folders for path in Path(folder).rglob("*.py"))
        else:
            yield Path(getattr(sys.modules[base.__module__], "__file__", None) or "?")


@cache
def _runs(path: Path) -> bytes:
    """Return a file's code as Python would write it, without docstrings; what is no Python, as it is."""
    source = path.read_bytes()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            node.body[0] = ast.Pass()
    return ast.unparse(tree).encode(errors="surrogatepass")
