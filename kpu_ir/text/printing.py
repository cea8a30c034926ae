"""Printing IR for people: large constants are left out, as MLIR does."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp
from xdsl.ir import Attribute
from xdsl.printer import Printer

from kpu_ir.support.types import is_uniform

ELIDED = "elided"
"""The name of the resource that stands for values that were not printed."""


@dataclass(eq=False, repr=False)
class ElidingPrinter(Printer):
    """Prints constants of more than ``limit`` elements as ``dense_resource<elided>``.

    The text parses back, to a module that can be timed but has no values. A constant of one
    repeated value is short anyway, and stays.
    """

    limit: int | None = None
    """None prints all of them."""

    def print_attribute(self, attribute: Attribute) -> None:
        """An attribute, or that it was left out."""
        if (
            self.limit is not None
            and isinstance(attribute, DenseIntOrFPElementsAttr)
            and len(attribute) > self.limit
            and not is_uniform(attribute)
        ):
            self.print_string(f"dense_resource<{ELIDED}> : ")
            super().print_attribute(attribute.type)
            return
        super().print_attribute(attribute)


def print_module(module: ModuleOp, elide: int | None = 16) -> str:
    """IR text; constants of more than ``elide`` elements without their values, None for all."""
    stream = StringIO()
    ElidingPrinter(stream=stream, limit=elide).print_op(module)
    return stream.getvalue() + "\n"
