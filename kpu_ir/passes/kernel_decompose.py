"""``kernel-decompose``: named kernels become maps, reductions and products."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import (
    BytesAttr,
    DenseIntOrFPElementsAttr,
    Float32Type,
    Float64Type,
    IntegerType,
    ModuleOp,
    TensorType,
    f32,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.machine.attr import machine_of
from kpu_ir.passes.kernel_build import counting, put
from kpu_ir.passes.long_choices import split_choice
from kpu_ir.passes.long_rows import check_chosen, has_room, scan
from kpu_ir.passes.quantized_maps import MOST_STEPS, check_scale, in_maps, known_step
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar, is_float, is_unsigned, trace
from kpu_ir.support.types import dense_of


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

    def fused(self, *results: SSAValue) -> kernel.FusedOp:
        """All of them as one program with these results."""
        self.block.add_op(kernel.YieldOp(*results))
        return kernel.FusedOp(Region(self.block))


def softmax(op: kernel.SoftmaxOp, body: _Body) -> SSAValue:
    """The stable form: the largest element is taken away first."""
    axes = [op.axis.value.data]
    largest = body.reduce("max", op.source, axes)
    if op.log:
        powers = body.map(lambda x, m: formulas.exp(x - m), op.source, largest)
        total = body.reduce("add", powers, axes)
        return body.map(lambda x, m, s: x - m - formulas.log(s), op.source, largest, total)
    if op.zero_if_empty:
        largest = body.map(lambda m: formulas.where(m == -inf, 0.0, m), largest)
    powers = body.map(lambda x, m: formulas.exp(x - m), op.source, largest)
    total = body.reduce("add", powers, axes)
    step = step_behind(op)
    of_total = inverse_or_zero if op.zero_if_empty else formulas.reciprocal
    inverse = body.map(lambda t: of_total(t) / step if step else of_total(t), total)
    return body.map(lambda p, i: p * i, powers, inverse)


def step_behind(op: kernel.SoftmaxOp) -> float | None:
    """The scale by which alone a softmax is quantized, which then is 1: its rows are in steps of it already."""
    user = op.result.get_user_of_unique_use()
    if not isinstance(user, kernel.QuantizeOp) or tensor_type(op.result).element_type != f32:
        return None
    check_scale(user)
    step = known_step(user)
    if step is None or not 1 / MOST_STEPS < step < MOST_STEPS:
        return None
    one = kernel.ConstantOp(dense_of(np.ones(tensor_type(user.scale).get_shape(), np.float32)))
    Rewriter.insert_op(one, InsertPoint.before(user))
    user.operands[1] = one.result
    return step


def inverse_or_zero(total: Scalar) -> Scalar:
    """1 / total, 0 where nothing was added up."""
    return formulas.where(total == 0.0, 0.0, 1.0 / total)


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


ONE_PROGRAM: dict[type[Operation], Callable[[Any, _Body], SSAValue]] = {
    kernel.SoftmaxOp: softmax,
    kernel.NormalizeOp: normalize,
}
"""Kernels with one result that become one program: what writes it, and returns the result."""


def one_program(op: Operation) -> None:
    """Put one ``kernel.fused`` in the place of ``op``. Short floats are computed in f32."""
    body = _Body()
    element = tensor_type(op.operands[0]).element_type
    short = is_float(element) and not isinstance(element, Float32Type | Float64Type)
    clone = op
    if short:
        wide = [body.map(lambda x: x.to(Float32Type()), v) for v in op.operands]
        clone = type(op).create(
            operands=wide, properties=op.properties.copy(), result_types=[wide[0].type]
        )
    result = ONE_PROGRAM[type(op)](clone, body)
    if short:
        result = body.map(lambda x: x.to(element), result)
        clone.drop_all_references()
    fused = body.fused(result)
    fused.outputs[0].name_hint = op.results[0].name_hint
    put(op, [fused], fused.outputs)


def numbers_along(shape: Sequence[int], axis: int) -> kernel.ConstantOp:
    """0, 1, 2.. along a dimension, as a tensor that has extent 1 in the others (i64)."""
    return counting(i64, [n if a == axis else 1 for a, n in enumerate(shape)])


def arg_reduce(op: kernel.ArgReduceOp) -> None:
    """The largest element, then the least number of those that equal it (or are NaN, as it is)."""
    shape, axis = tensor_type(op.source).get_shape(), op.dimension
    numbers, behind = numbers_along(shape, axis), -1 if op.last else shape[axis]
    body = _Body()
    best = body.reduce(op.kind_name, op.source, [axis])

    def place(x: Scalar, m: Scalar, i: Scalar) -> Scalar:
        found = x == m
        return formulas.where(found | (x != x) if is_float(x.kind) else found, i, behind)

    places = body.map(place, op.source, best, numbers.result)
    fused = body.fused(body.reduce("max" if op.last else "min", places, [axis]))
    fused.outputs[0].name_hint = op.result.name_hint
    put(op, [numbers, fused], fused.outputs)


def lowest(kind: Attribute, smallest: bool) -> float:
    """What no element is less than (with ``smallest``: greater than)."""
    if not isa(kind, IntegerType):
        return inf if smallest else -inf
    bits = kind.bitwidth
    if is_unsigned(kind):
        return (1 << bits) - 1 if smallest else 0
    return (1 << bits - 1) - 1 if smallest else -(1 << bits - 1)


def top_k(op: kernel.TopKOp) -> None:
    """Of a row that does not fit on chip, one after the other: the largest of the elements that come
    after the one before.

    All kernels but the first are equal, so one function does them.
    """
    shape, axis = tensor_type(op.source).get_shape(), op.dimension
    kind, numbers = tensor_type(op.source).element_type, numbers_along(shape, axis)
    pick, bound = "min" if op.smallest else "max", lowest(kind, bool(op.smallest))
    made: list[Operation] = [numbers]
    values: list[SSAValue] = []
    places: list[SSAValue] = []

    def after(x: Scalar, i: Scalar, m: Scalar, at: Scalar) -> Scalar:
        return (x > m if op.smallest else x < m) | ((x == m) & (i > at))

    for _ in range(op.count):
        body = _Body()
        if not values:
            best = body.reduce(pick, op.source, [axis])
            left = body.map(
                lambda x, m, i: formulas.where(x == m, i, shape[axis]),
                op.source,
                best,
                numbers.result,
            )
        else:
            given = [op.source, numbers.result, values[-1], places[-1]]
            rest = body.map(lambda x, *more: formulas.where(after(x, *more), x, bound), *given)
            best = body.reduce(pick, rest, [axis])
            left = body.map(
                lambda x, i, m, at, b: formulas.where(
                    after(x, i, m, at) & (x == b), i, shape[axis]
                ),
                *given,
                best,
            )
        fused = body.fused(best, body.reduce("min", left, [axis]))
        made.append(fused)
        values.append(fused.outputs[0])
        places.append(fused.outputs[1])
    if op.count == 1:
        put(op, made, [values[0], places[0]])
        return
    both = [kernel.ConcatOp(values, axis), kernel.ConcatOp(places, axis)]
    put(op, [*made, *both], [one.result for one in both])


def attention(op: kernel.AttentionOp) -> None:
    """A product, a map (scale, masks), a softmax of the scores in f32, a product.

    Queries that share their keys stand one behind the other, b x g x (h/g s) x d; where a mask
    tells heads or queries apart, beside each other, b x g x h/g x s x d.
    """
    q, k, v = (tensor_type(x) for x in (op.q, op.k, op.v))
    (batch, heads, length, depth), (groups, keys) = q.get_shape(), k.get_shape()[1:3]
    share, element = heads // groups, q.element_type
    wide = element if isinstance(element, Float64Type) else Float32Type()
    made: list[Operation] = []

    def add(one: Named, name: str) -> SSAValue:
        made.append(one)
        one.result.name_hint = name
        return one.result

    def seen(value: SSAValue, shape: Sequence[int], name: str) -> SSAValue:
        same = tensor_type(value).get_shape() == tuple(shape)
        return value if same else add(kernel.ReshapeOp(value, shape), name)

    masks: list[SSAValue] = []
    given = (1,) * 4
    if op.mask is not None:
        given = tuple(tensor_type(op.mask).get_shape())
        given = (*(1,) * (4 - len(given)), *given)
    apart = share > 1 and (bool(op.causal) or given[1:3] != (1, 1))
    lead, rows = ((batch, groups, share), length) if apart else ((batch, groups), share * length)
    shared = (batch, groups, 1) if apart else (batch, groups)
    if op.mask is not None:
        b, h, s, n = given
        by_head = (groups, share) if h > 1 else (1, 1)
        shape, source = (b, *by_head, s, n) if apart else given, op.mask.owner
        if isinstance(source, kernel.MapOp) and viewable(source):
            # Seen in this shape already before the map, which can then be computed with the scores.
            views = [seen(v, shape, "mask") for v in source.inputs]
            copy = kernel.MapOp(views, source.body.clone(), source.result.type.element_type)
            copy.attributes.update(source.attributes)
            masks.append(add(copy, "mask"))
        else:
            masks.append(seen(op.mask, shape, "mask"))
    unseen = bool(op.causal) and length * keys > MOST_MASKED
    if op.causal and not unseen:
        masks.append(add(causal_mask(op, length, keys), "causal"))
    queries = seen(op.q, (*lead, rows, depth), "queries")
    known = seen(op.k, (*shared, keys, depth), "keys")
    values = seen(op.v, (*shared, keys, v.get_shape()[3]), "values")
    scores = add(kernel.MatmulOp(queries, known, transpose_b=True, element_type=wide), "scores")

    def masked(x: Scalar, *more: Scalar) -> Scalar:
        x = x * op.factor
        if op.cap:
            x = op.cap * formulas.tanh(x / op.cap)
        if unseen:
            x = formulas.where(more[-1] <= more[-2], x, -inf)
        for m in more[: len(masks)]:
            x = x + m.to(x.kind)
        return x

    def mapped(formula: Callable[..., Any], inputs: Sequence[SSAValue], name: str) -> SSAValue:
        body, kind = trace(formula, [tensor_type(x).element_type for x in inputs])
        return add(kernel.MapOp(inputs, body, kind), name)

    numbers: list[SSAValue] = []
    if unseen:
        numbers.append(add(counting(i32, (length, 1), op.shift), "reach"))
        numbers.append(add(counting(i32, (1, keys)), "place"))
    x = mapped(masked, [scores, *masks, *numbers], "scores")
    last = len(tensor_type(x).get_shape()) - 1
    empty = bool(masks or numbers)
    shares = add(kernel.SoftmaxOp(x, last, zero_if_empty=empty), "shares")
    if wide != element:
        shares = mapped(lambda p: p.to(element), [shares], "shares")
    result = add(kernel.MatmulOp(shares, values), "mixed")
    result = seen(result, (batch, heads, length, v.get_shape()[3]), "mixed")
    result.name_hint = op.result.name_hint
    mask = None if op.mask is None else op.mask.owner
    put(op, made, [result])
    if isinstance(mask, kernel.MapOp) and not mask.result.first_use:
        Rewriter.erase_op(mask)


def viewable(op: kernel.MapOp) -> bool:
    """Whether a map is for one user, and all that it reads has its shape."""
    shape = op.result.type.get_shape()
    same = all(tensor_type(v).get_shape() == shape for v in op.inputs)
    return same and op.result.has_one_use()


Named = kernel.ReshapeOp | kernel.MatmulOp | kernel.ConstantOp | kernel.MapOp | kernel.SoftmaxOp


MOST_MASKED = 1 << 24
"""Scores of a causal attention that a mask of their shape says which are seen of; of more, two rows
of numbers, one of queries and one of keys, which are compared."""


def causal_mask(op: kernel.AttentionOp, length: int, keys: int) -> kernel.ConstantOp:
    """0 where a query sees a key, else -inf."""
    seen, unseen = struct.pack("<f", 0.0) * keys, struct.pack("<f", -inf) * keys
    ends = (4 * min(max(i + op.shift + 1, 0), keys) for i in range(length))
    data = b"".join(seen[:end] + unseen[end:] for end in ends)
    kind = TensorType(Float32Type(), [length, keys])
    return kernel.ConstantOp(DenseIntOrFPElementsAttr(kind, BytesAttr(data)))


DECOMPOSITIONS: dict[type[Operation], Callable[[Any], None]] = {
    **dict.fromkeys(ONE_PROGRAM, one_program),
    kernel.ArgReduceOp: arg_reduce,
    kernel.AttentionOp: attention,
    kernel.QuantizeOp: in_maps,
    kernel.DequantizeOp: in_maps,
}
"""What becomes of each named kernel."""


@dataclass(frozen=True)
class KernelDecomposePass(ModulePass):
    """Softmax, norms and arg-reductions become maps and reductions, each in one kernel; attention several, and so do
    scans and top-k of rows that do not fit on chip. Quantize and dequantize become maps.

    Arg-reductions and top-k of rows that do not fit on chip first become those of pieces
    (``long_choices``).

    Before:
    ```mlir
    %p = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
    ```
    After:
    ```mlir
    %p = kernel.fused : tensor<4x16xf32> {
      %m = kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
      %e = kernel.map %x, %m : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> { exp(x - m) }
      %s = kernel.reduce add %e axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
      %i = kernel.map %s : (tensor<4x1xf32>) -> tensor<4x1xf32> { 1 / s }
      %y = kernel.map %e, %i : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> { e * i }
      kernel.yield %y : tensor<4x16xf32>
    }
    ```
    """

    name = "kernel-decompose"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Decompose every one that does not stand in a group already."""
        choices = [o for o in op.walk() if isinstance(o, kernel.ArgReduceOp | kernel.TopKOp)]
        machine = machine_of(op) if choices else None
        while choices and machine is not None:
            choices += split_choice(choices.pop(), machine)
        for kinds in ((kernel.AttentionOp,), tuple(DECOMPOSITIONS)):
            for one in list(op.walk()):
                if type(one) in kinds and not isinstance(one.parent_op(), kernel.FusedOp):
                    DECOMPOSITIONS[type(one)](one)
        for one in [o for o in op.walk() if isinstance(o, kernel.TopKOp | kernel.ScanOp)]:
            machine = machine_of(op)
            if isinstance(one, kernel.ScanOp):
                scan(one, machine)
            elif not has_room(one, machine):
                check_chosen(one, machine)
                top_k(one)
