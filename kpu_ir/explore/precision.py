"""A workload in another floating-point type: how a study asks what short floats are worth.

All values of 32 bits become such of the type, weights, results and scalar functions too. Sums stay in
f32 until their one rounding, as everywhere. What that does to the outputs of a network is not asked here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    Float16Type,
    Float32Type,
    ModuleOp,
    ShapedType,
)
from xdsl.ir import Attribute, TypeAttribute
from xdsl.pattern_rewriter import PatternRewriteWalker, TypeConversionPattern

from kpu_ir.dialects import kernel
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import array_of, dense_of, dtype_of

TYPES = {"f16": Float16Type(), "bf16": BFloat16Type()}
"""What floats may become."""


@dataclass
class _Retype(TypeConversionPattern):
    """``f32`` in types, wherever they stand, becomes another type."""

    kind: Float16Type | BFloat16Type = field(default_factory=Float16Type)
    recursive: bool = True

    def convert_type(self, typ: Attribute, /) -> Attribute | None:
        """The attribute with the other type."""
        if isinstance(typ, Float32Type):
            return self.kind
        return None


def retyped(module: ModuleOp, precision: str) -> ModuleOp:
    """A copy of a kernel module with floats of ``precision``. Raises ``KpuError`` where its operations do
    not take that type."""
    kind = TYPES[precision]
    module = module.clone()
    for op in module.walk():
        if isinstance(op, kernel.ConstantOp) and (value := _constant(op.value, kind)) is not None:
            op.properties["value"] = value
    PatternRewriteWalker(_Retype(kind=kind)).rewrite_module(module)
    try:
        module.verify()
    except Exception as e:
        raise KpuError(
            f"it cannot be had in {precision}: {e}", hint="leave out 'precision'"
        ) from None
    return module


def _constant(
    value: DenseIntOrFPElementsAttr | DenseResourceAttr, kind: TypeAttribute
) -> Attribute | None:
    """Values rounded to the type, where they are of 32 bits."""
    if cast(ShapedType, value.type).element_type != Float32Type():  # pyright: ignore
        return None
    if isinstance(value, DenseResourceAttr):  # a type alone: the walker changes it
        return None
    return dense_of(array_of(value).astype(dtype_of(kind)))
