"""Printing IR for people: large constants are left out, as MLIR does."""

from __future__ import annotations

from io import StringIO

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp
from xdsl.ir import Attribute
from xdsl.printer import Printer


class ElidingPrinter(Printer):
    """Prints constants of more than ``limit`` elements as ``dense_resource<elided>``, which parses back."""

    limit: int | None = None

    def print_attribute(self, attribute: Attribute) -> None:
        """An attribute, or that it was left out."""
        if (
            self.limit is not None
            and isinstance(attribute, DenseIntOrFPElementsAttr)
            and len(attribute) > self.limit
        ):
            self.print_string("dense_resource<elided> : ")
            super().print_attribute(attribute.type)
            return
        super().print_attribute(attribute)


def print_module(module: ModuleOp, elide: int | None = 16) -> str:
    """IR text; constants of more than ``elide`` elements without their values, None for all of them."""
    stream = StringIO()
    printer = ElidingPrinter(stream=stream)
    printer.limit = elide
    printer.print_op(module)
    return stream.getvalue() + "\n"
