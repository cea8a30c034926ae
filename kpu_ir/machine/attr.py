"""The machine as an attribute of the module, so that an IR file alone reproduces its result."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import (
    BoolAttr,
    DictionaryAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    ModuleOp,
    StringAttr,
    f64,
    i64,
)
from xdsl.ir import Attribute

from kpu_ir.machine.machine import Machine
from kpu_ir.support.errors import KpuError

ATTRIBUTE = "kpu.machine"
"""The name of the module's attribute."""


def machine_to_attr(machine: Machine) -> DictionaryAttr:
    """A nested dictionary of ``i64``, ``f64``, ``i1`` and strings."""

    def attr(value: Any) -> Attribute:
        match value:
            case dict():
                return DictionaryAttr({k: attr(v) for k, v in value.items()})  # pyright: ignore
            case bool():
                return BoolAttr.from_bool(value)
            case int():
                return IntegerAttr(value, i64)
            case float():
                return FloatAttr(value, f64)
            case _:
                return StringAttr(str(value))

    return DictionaryAttr({k: attr(v) for k, v in machine.to_dict().items()})


def machine_from_attr(attribute: Attribute) -> Machine:
    """The machine in an attribute. Raises ``KpuError`` that names the key that is wrong."""

    def plain(value: Attribute) -> Any:
        match value:
            case DictionaryAttr():
                return {k: plain(v) for k, v in value.data.items()}
            case IntegerAttr(type=IntegerType(width=w)) if w.data == 1:
                return bool(value.value.data)
            case IntegerAttr() | FloatAttr():
                return value.value.data
            case StringAttr():
                return value.data
            case _:
                raise KpuError(f"{ATTRIBUTE}: cannot hold {value}")

    if not isinstance(attribute, DictionaryAttr):
        raise KpuError(f"{ATTRIBUTE} must be a dictionary, got {attribute}")
    return Machine.from_dict(plain(attribute))


def machine_of(module: ModuleOp) -> Machine:
    """The module's machine, or the default one."""
    attribute = module.attributes.get(ATTRIBUTE)
    return machine_from_attr(attribute) if attribute is not None else Machine.preset("default")
