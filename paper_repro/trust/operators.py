"""Small changes of a program's meaning, one at a time: what a test suite should notice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_NAMES = {
    "min": "max",
    "max": "min",
    "ceil": "floor",
    "floor": "ceil",
    "any": "all",
    "all": "any",
    "amin": "amax",
    "amax": "amin",
}
_NAMES |= {"argmax": "argmin", "argmin": "argmax", "log": "log1p", "log1p": "log", "exp": "expm1", "expm1": "exp"}
_NAMES |= {"sum": "mean", "mean": "sum", "cumsum": "cumprod", "sqrt": "square", "square": "sqrt"}


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        line: where, from 1.
        text: the line as it was.
        change: what for what.
        tree: the module with it.
    """

    line: int
    text: str
    change: str
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Yield each change of a module's source; messages of errors, docstrings and annotations are left alone."""
    lines, count = source.splitlines(), sum(1 for _ in _places(ast.parse(source)))
    for index in range(count):
        tree = ast.parse(source)
        node, change = next(place for at, place in enumerate(_places(tree)) if at == index)
        told = change.apply(node)
        yield Mutant(node.lineno, lines[node.lineno - 1].strip(), told, ast.fix_missing_locations(tree))


@dataclass(frozen=True)
class _Change:
    field: str
    value: Any
    told: str

    def apply(self, node: Any) -> str:
        setattr(node, self.field, self.value)
        return self.told


def _places(tree: ast.Module) -> Iterator[tuple[Any, _Change]]:
    for node in _meant(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
            other = _COMPARE[type(node.ops[0])]
            yield node, _Change("ops", [other()], f"{type(node.ops[0]).__name__} -> {other.__name__}")
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _ARITHMETIC:
            swapped = _ARITHMETIC[type(node.op)]
            yield node, _Change("op", swapped(), f"{type(node.op).__name__} -> {swapped.__name__}")
        elif isinstance(node, ast.BoolOp):
            turned = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield node, _Change("op", turned(), f"{type(node.op).__name__} -> {turned.__name__}")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node, _Change("op", ast.UAdd(), "the sign is lost")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, _Change("operand", ast.UnaryOp(ast.Not(), node.operand), "not -> not not")
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, _Change("value", not node.value, f"{node.value} -> {not node.value}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            value = node.value + 1 if isinstance(node.value, int) else (node.value * 2 or 1.0)
            yield node, _Change("value", value, f"{node.value} -> {value}")
        elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
            yield node, _Change("attr", _NAMES[node.attr], f"{node.attr} -> {_NAMES[node.attr]}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in _NAMES:
            yield node, _Change("id", _NAMES[node.id], f"{node.id} -> {_NAMES[node.id]}")


def _meant(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes, in their order, that say what a program does."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(
                child, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr)
            ):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.Assign) and _is_alias(child):
                continue
            yield child
            yield from _meant(child)


def _is_alias(node: ast.Assign) -> bool:
    """Whether it is a type's name, or a list of words, at a module's top."""
    return isinstance(node.value, ast.Subscript) and getattr(node.value.value, "id", "") in (
        "Literal",
        "Annotated",
        "Callable",
    )
