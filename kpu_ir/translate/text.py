"""A ``dma`` module as text whose large constants are named by what they hold, and back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from typing import cast

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, DenseResourceAttr, ModuleOp
from xdsl.ir import Attribute, Block
from xdsl.parser import ParseError
from xdsl.printer import Printer
from xdsl.utils.exceptions import DiagnosticException

from kpu_ir.machine.attr import ATTRIBUTE
from kpu_ir.program.saved import ConstantReader, constants_of
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import is_uniform
from kpu_ir.text.parsing import STUMBLES, early_use, error_at, parse_error

INLINE = 16
"""Elements of a constant that stand in the text; of larger ones their hash does."""

HANDLE = re.compile(r"dense_resource<(sha256_[0-9a-f]{64})>")


def handle(value: DenseIntOrFPElementsAttr | DenseResourceAttr | None) -> str | None:
    """What a constant is called, if its values do not stand in the text."""
    match value:
        case DenseIntOrFPElementsAttr() if len(value) > INLINE and not is_uniform(value):
            return handle_of(value.data.data)
        case DenseResourceAttr():
            return value.resource_handle.data
        case _:
            return None


def handle_of(data: bytes) -> str:
    """What values of these bytes are called."""
    return f"sha256_{hashlib.sha256(data).hexdigest()}"


@dataclass(eq=False, repr=False)
class _Writer(Printer):
    """Prints large constants by their names."""

    def print_attribute(self, attribute: Attribute) -> None:
        """An attribute, or the name of its values."""
        if isinstance(attribute, DenseIntOrFPElementsAttr) and (name := handle(attribute)):
            self.print_string(f"dense_resource<{name}> : ")
            return super().print_attribute(attribute.type)
        super().print_attribute(attribute)


def lines_of(module: ModuleOp) -> list[str]:
    """The text of a module without its machine, by lines."""
    module = module.clone()
    module.attributes.pop(ATTRIBUTE, None)
    stream = StringIO()
    _Writer(stream=stream).print_op(module)
    return stream.getvalue().split("\n")


def body_text(block: Block) -> str:
    """A scalar body as a region: ``{ ^bb0(%0 : f32): ... }``, its lines as one."""
    stream = StringIO()
    region = block.parent_region()
    assert region is not None
    Printer(stream=stream).print_region(region, print_empty_block=False)
    return " ".join(stream.getvalue().split())


def weights_of(module: ModuleOp) -> Iterator[tuple[str, bytes]]:
    """The values of the constants that have names, each once."""
    seen: set[str] = set()
    for value in constants_of(module):
        name = handle(value)
        if name is not None and name not in seen:
            seen.add(name)
            yield name, value.data.data


def module_of(lines: list[str], weights: Mapping[str, memoryview], name: str) -> ModuleOp:
    """The verified module of a text. Constants whose values are not among ``weights`` have a type
    alone. Raises ``KpuError``, with the line in the text."""
    text = "\n".join(lines)
    try:
        reader = ConstantReader(context(), text, name, weights)
        reader.dialect_resources.update(("builtin", h) for h in HANDLE.findall(text))
        module = reader.parse_module()
        module.verify()
    except ParseError as e:
        raise parse_error(e) from None
    except (DiagnosticException, *STUMBLES) as e:
        raise KpuError(f"its IR cannot be read: {e}", name) from None
    early = early_use(module)
    if early is not None:
        raise error_at(*early)
    if not isinstance(cast(object, module), ModuleOp):
        raise KpuError("its IR is no module", name)
    return module
