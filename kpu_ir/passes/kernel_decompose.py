"""``kernel-decompose``: named rows become maps and reductions, together in one kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, Float64Type, ModuleOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from kpu_ir import formulas
from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.tracing import Scalar, trace


class _Body:
    """Kernels in the making, inside one ``kernel.fused``."""

    def __init__(self) -> None:
        self.block = Block()
        self.build = Builder(InsertPoint.at_end(self.block))

    def map(self, formula: Callable[..., Any], *values: SSAValue) -> SSAValue:
        """``formula`` of each element."""
        body, element = trace(formula, [tensor_type(v).element_type for v in values])
        return self.build.insert(kernel.MapOp(values, body, element)).result

    def reduce(self, kind: str, value: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Elements combined along ``axes``."""
        return self.build.insert(kernel.ReduceOp(kind, value, axes)).result


def softmax(op: kernel.SoftmaxOp, body: _Body) -> SSAValue:
    """The stable form: the largest element is taken away first."""
    axes = [op.axis.value.data]
    largest = body.reduce("max", op.source, axes)
    if op.log:
        powers = body.map(lambda x, m: formulas.exp(x - m), op.source, largest)
        total = body.reduce("add", powers, axes)
        return body.map(lambda x, m, s: x - m - formulas.log(s), op.source, largest, total)
    powers = body.map(lambda x, m: formulas.exp(x - m), op.source, largest)
    total = body.reduce("add", powers, axes)
    inverse = body.map(formulas.reciprocal, total)
    return body.map(lambda p, i: p * i, powers, inverse)


def normalize(op: kernel.NormalizeOp, body: _Body) -> SSAValue:
    """Mean, variance (of the differences, not of squares: nothing cancels), then scale and
    shift."""
    x, *affine = op.inputs
    axes, shape = op.axes_list, tensor_type(x).get_shape()
    share, epsilon = 1.0 / prod(shape[a] for a in axes), float(op.epsilon.value.data)
    if op.center:
        mean = body.map(lambda s: s * share, body.reduce("add", x, axes))
        x = body.map(lambda a, m: a - m, x, mean)
    power = body.reduce("add", body.map(lambda a: a * a, x), axes)
    factor = body.map(lambda s: 1.0 / formulas.sqrt(s * share + epsilon), power)

    def scaled(a: Scalar, f: Scalar, *more: Scalar) -> Any:
        result: Any = a * f
        result = result * more[0] if more else result
        return result + more[1] if len(more) > 1 else result

    return body.map(scaled, x, factor, *affine)


def decompose(op: kernel.SoftmaxOp | kernel.NormalizeOp) -> None:
    """Put one ``kernel.fused`` in the place of ``op``. Short floats are computed in f32."""
    body = _Body()
    source = op.operands[0]
    element = tensor_type(source).element_type
    short = not isinstance(element, Float32Type | Float64Type)
    clone = op
    if short:
        wide = [body.map(lambda x: x.to(Float32Type()), v) for v in op.operands]
        clone = type(op).create(
            operands=wide, properties=op.properties.copy(), result_types=[wide[0].type]
        )
    result = softmax(clone, body) if isinstance(clone, kernel.SoftmaxOp) else normalize(clone, body)
    if short:
        result = body.map(lambda x: x.to(element), result)
        clone.drop_all_references()
    for one in body.block.ops:
        one.location = op.location
    body.block.add_op(kernel.YieldOp(result))
    fused = kernel.FusedOp(Region(body.block))
    fused.location = op.location
    fused.outputs[0].name_hint = op.result.name_hint
    Rewriter.replace_op(op, fused)


@dataclass(frozen=True)
class KernelDecomposePass(ModulePass):
    """Softmax and normalizations become maps and reductions; each stays one kernel.

    Before:
    ```mlir
    %p = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
    ```
    After:
    ```mlir
    %p = kernel.fused : tensor<4x16xf32> {
      %m = kernel.reduce "max" %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
      %e = kernel.map %x, %m : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> { exp(x - m) }
      %s = kernel.reduce "add" %e axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
      %i = kernel.map %s : (tensor<4x1xf32>) -> tensor<4x1xf32> { 1 / s }
      %y = kernel.map %e, %i : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> { e * i }
      kernel.yield %y : tensor<4x16xf32>
    }
    ```
    """

    name = "kernel-decompose"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Decompose every one."""
        for one in list(op.walk()):
            if isinstance(one, kernel.SoftmaxOp | kernel.NormalizeOp):
                decompose(one)
