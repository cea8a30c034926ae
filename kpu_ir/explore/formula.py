"""Formulas of a study: arithmetic over names, read by Python's parser and evaluated here.

Only numbers, names, figures of a workload and a few functions are there: a study is data, and runs
no code.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import allowed
from kpu_ir.support.names import shortened

Value = float | bool | str
Lookup = Callable[[str, str | None], Value]
"""The value of a name, of a workload if one is named: ``cycles(resnet18)``."""

LONGEST = 500
"""Characters of a formula."""

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "min": min, "max": max, "abs": abs, "sqrt": math.sqrt, "log2": math.log2, "log": math.log,
}  # fmt: skip

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: lambda a, b: math.pow(a, b),
}  # fmt: skip

_COMPARE: Mapping[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Lt: lambda a, b: a < b, ast.LtE: lambda a, b: a <= b,  # pyright: ignore[reportOperatorIssue]
    ast.Gt: lambda a, b: a > b, ast.GtE: lambda a, b: a >= b,  # pyright: ignore[reportOperatorIssue]
    ast.Eq: lambda a, b: a == b, ast.NotEq: lambda a, b: a != b,
}  # fmt: skip


@dataclass(frozen=True)
class Formula:
    """A formula as a person wrote it, parsed. ``Formula.of("cycles(bert) * area_mm2")``."""

    text: str
    tree: ast.expr

    @staticmethod
    def of(text: str) -> Formula:
        """Parse. Raises ``KpuError`` for what is no formula."""
        if len(text) > LONGEST:
            raise KpuError(f"a formula has at most {LONGEST} characters, this one {len(text)}")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise KpuError(
                f"'{shortened(text)}' is not a formula", hint="write sums and products of figures"
            ) from None
        formula = Formula(text.strip(), tree)
        formula._check(tree)
        return formula

    def names(self) -> set[tuple[str, str | None]]:
        """Every name that it asks for, with the workload that it is asked of, if any."""
        found: set[tuple[str, str | None]] = set()

        def visit(node: ast.AST) -> None:
            match node:
                case ast.Name() | ast.Attribute():
                    found.add((_dotted(node), None))
                case ast.Call(func=ast.Name(id=name), args=args) if name in FUNCTIONS:
                    for arg in args:
                        visit(arg)
                case ast.Call(func=ast.Name(id=name)):
                    found.add((name, _workload(node)))
                case _:
                    for child in ast.iter_child_nodes(node):
                        visit(child)

        visit(self.tree)
        return found

    def value(self, look: Lookup) -> Value:
        """What it yields; not a number where arithmetic has none."""
        try:
            return self._value(self.tree, look)
        except (ZeroDivisionError, OverflowError, ValueError, TypeError):
            return math.nan

    def number(self, look: Lookup) -> float:
        """``value`` as a number. Raises ``KpuError`` where it is a word."""
        value = self.value(look)
        if isinstance(value, str):
            raise KpuError(f"'{shortened(self.text)}' is a word, not a number")
        return float(value)

    @staticmethod
    def _function(call: ast.Call) -> bool:
        return isinstance(call.func, ast.Name) and call.func.id in FUNCTIONS

    def _check(self, node: ast.AST) -> None:
        """Refuse what formulas do not have."""
        for part in ast.walk(node):
            known = isinstance(
                part,
                ast.BinOp | ast.UnaryOp | ast.Compare | ast.BoolOp | ast.Call | ast.Name
                | ast.Attribute | ast.Constant | ast.operator | ast.unaryop | ast.cmpop | ast.boolop
                | ast.expr_context,
            )  # fmt: skip
            bad_call = isinstance(part, ast.Call) and (
                not isinstance(part.func, ast.Name)
                or bool(part.keywords)
                or (not self._function(part) and _workload(part) is None)
            )
            bad_operator = (
                (isinstance(part, ast.operator) and type(part) not in _BINARY)
                or (isinstance(part, ast.cmpop) and type(part) not in _COMPARE)
                or isinstance(part, ast.Invert)
            )
            if not known or bad_call or bad_operator:
                raise KpuError(
                    f"'{shortened(self.text)}' is more than a formula may be",
                    hint="numbers, figures as area_mm2 or cycles(name), + - * / ** < <= == and or, "
                    f"{allowed('', list(FUNCTIONS), 'functions')}",
                )

    def _value(self, node: ast.expr, look: Lookup) -> Value:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.Name() | ast.Attribute():
                return look(_dotted(node), None)
            case ast.Call(func=ast.Name(id=name), args=args):
                if name in FUNCTIONS:
                    return FUNCTIONS[name](*(self._value(arg, look) for arg in args))
                return look(name, _workload(node))
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self._value(left, look), self._value(right, look)
                return _BINARY[type(op)](float(a), float(b))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self._value(operand, look)
            case ast.UnaryOp(op=op, operand=operand):
                value = float(self._value(operand, look))
                return -value if isinstance(op, ast.USub) else value
            case ast.BoolOp(op=op, values=values):
                every = all if isinstance(op, ast.And) else any
                return every(bool(self._value(v, look)) for v in values)
            case ast.Compare(left=left, ops=ops, comparators=rest):
                values = [self._value(v, look) for v in (left, *rest)]
                return all(
                    _COMPARE[type(op)](a, b)
                    for op, a, b in zip(ops, values, values[1:], strict=False)
                )
            case _:
                raise KpuError(f"'{shortened(self.text)}' is not a formula")


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _workload(call: ast.Call) -> str | None:
    """The one workload that a figure is asked of: a name, or text in quotes."""
    match call.args:
        case [ast.Name(id=name)]:
            return name
        case [ast.Constant(value=str() as name)]:
            return name
        case _:
            return None
