"""Softmax and normalization seen again in the maps and reductions that they came as.

torch-mlir writes one ``linalg.generic`` for each step, old exporters one ONNX node. By their own names
these become one program each, and what runs a softmax or a norm well runs these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isclose, prod

from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IntegerAttr
from xdsl.ir import BlockArgument, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import broadcast_shapes, tensor_type

Term = SSAValue | float
"""An operand of a step: a tensor, or a number that is part of its body."""


def step(value: Term | None, *names: str) -> list[Term] | None:
    """The operands of a ``kernel.map`` of one operation of these names."""
    op = value.owner if isinstance(value, SSAValue) else None
    if not isinstance(op, kernel.MapOp):
        return None
    *constants, inner, last = op.body.block.ops
    plain = all(isinstance(c, arith.ConstantOp) for c in constants)
    if not plain or inner.name not in names or list(last.operands) != list(inner.results):
        return None
    return [_term(op, v) for v in inner.operands]


def _term(op: kernel.MapOp, scalar: SSAValue) -> Term:
    if isinstance(scalar, BlockArgument):
        return op.inputs[scalar.index]
    constant = scalar.owner
    assert isinstance(constant, arith.ConstantOp)
    assert isinstance(constant.value, FloatAttr | IntegerAttr)
    return float(constant.value.value.data)


def seen(value: Term | None) -> SSAValue | None:
    """What a value is a view of, that stays where it was: repeated, or by way of other shapes."""
    if not isinstance(value, SSAValue):
        return None
    if isinstance(value.owner, kernel.BroadcastOp):
        value = value.owner.source
    shape = tensor_type(value).get_shape()
    found = value
    while isinstance(found.owner, kernel.ReshapeOp):
        found = found.owner.source
        if tensor_type(found).get_shape() == shape:
            value = found
    return value


def reduction(value: Term, kind: str) -> kernel.ReduceOp | None:
    """The reduction that a value is, perhaps repeated."""
    found = seen(value)
    op = found.owner if found is not None else None
    return op if isinstance(op, kernel.ReduceOp) and op.kind_name == kind else None


def either(terms: list[Term] | None) -> Iterator[tuple[Term, Term]]:
    """Two operands, in both orders."""
    if terms is not None and len(terms) == 2:
        yield terms[0], terms[1]
        yield terms[1], terms[0]


def mean(value: Term) -> kernel.ReduceOp | None:
    """The sum whose mean a value is, perhaps repeated."""
    for at in (value, seen(value)):
        if at is None:
            continue
        for terms, by in ((step(at, "arith.divf"), 1), (step(at, "arith.mulf"), -1)):
            if terms is None:
                continue
            total, share = terms
            op = reduction(total, "add")
            if op is not None and isinstance(share, float):
                shape = tensor_type(op.source).get_shape()
                count = prod(shape[axis] for axis in op.axes_list)
                if isclose(share**by, count, rel_tol=1e-6):
                    return op
    return None


def shifted(value: Term, kind: str) -> tuple[SSAValue, kernel.ReduceOp] | None:
    """``x - r(x)``: x and the reduction, whose mean is meant where ``kind`` is ``add``."""
    terms = step(value, "arith.subf")
    if terms is None:
        return None
    x, less = terms
    op = mean(less) if kind == "add" else reduction(less, kind)
    return (op.source, op) if op is not None and op.source is x else None


def softmax(root: SSAValue) -> kernel.SoftmaxOp | None:
    """``exp(x - max x) / sum exp(x - max x)``."""
    terms = step(root, "arith.divf")
    total = reduction(terms[1], "add") if terms else None
    if terms is None or total is None or total.source is not terms[0]:
        return None
    exponent = inner(terms[0], "math.exp")
    from_max = shifted(exponent, "max") if exponent is not None else None
    return _along(from_max, total, log=False)


def log_softmax(root: SSAValue) -> kernel.SoftmaxOp | None:
    """``d - log sum exp d`` of ``d = x - max x``."""
    terms = step(root, "arith.subf")
    from_max = shifted(terms[0], "max") if terms else None
    sums = inner(seen(terms[1]), "math.log") if terms else None
    total = reduction(sums, "add") if sums is not None else None
    if terms is None or total is None or inner(total.source, "math.exp") is not terms[0]:
        return None
    return _along(from_max, total, log=True)


def _along(
    from_max: tuple[SSAValue, kernel.ReduceOp] | None, total: kernel.ReduceOp, log: bool
) -> kernel.SoftmaxOp | None:
    if from_max is None or from_max[1].axes_list != total.axes_list or len(total.axes_list) != 1:
        return None
    return kernel.SoftmaxOp(from_max[0], total.axes_list[0], log)


def squared(value: Term) -> SSAValue | None:
    """x of ``x x``."""
    terms = step(value, "arith.mulf")
    if terms is not None and terms[0] is terms[1] and isinstance(terms[0], SSAValue):
        return terms[0]
    if terms is None:
        terms = step(value, "math.powf", "math.fpowi")
        if terms is not None and terms[1] == 2.0 and isinstance(terms[0], SSAValue):
            return terms[0]
    return None


def inner(value: Term | None, *names: str) -> SSAValue | None:
    """What a step of one operand takes."""
    terms = step(value, *names) if value is not None else None
    return terms[0] if terms and isinstance(terms[0], SSAValue) else None


def inverse_deviation(value: Term) -> tuple[SSAValue, kernel.ReduceOp, float] | None:
    """``1 / sqrt(mean of d d + epsilon)``: d, the sum of its squares, epsilon (0 if none is added).

    The mean may have been taken in a wider type.
    """
    root = inner(seen(value), "math.rsqrt")
    inverse = step(seen(value), "arith.divf")
    if root is None and inverse is not None and inverse[0] == 1.0:
        return deviation(inverse[1])
    return None if root is None else _deviation(root)


def deviation(value: Term) -> tuple[SSAValue, kernel.ReduceOp, float] | None:
    """``sqrt(mean of d d + epsilon)``, as ``inverse_deviation`` has one over it."""
    root = inner(seen(value), "math.sqrt")
    return None if root is None else _deviation(root)


def _deviation(root: SSAValue) -> tuple[SSAValue, kernel.ReduceOp, float] | None:
    for variance, epsilon in (*either(step(root, "arith.addf")), (root, 0.0)):
        op = mean(inner(variance, "arith.truncf") or variance)
        d = squared(op.source) if op is not None else None
        if op is not None and d is not None and isinstance(epsilon, float):
            return d, op, epsilon
    return None


def centered(value: SSAValue) -> tuple[SSAValue, tuple[int, ...]] | None:
    """``x - mean x``, in a wider type perhaps: x in its own type, the dimensions."""
    found = shifted(value, "add")
    if found is None:
        return None
    return inner(found[0], "arith.extf") or found[0], found[1].axes_list


def normalization(root: SSAValue) -> kernel.NormalizeOp | None:
    """``d / sqrt(mean of d d + epsilon)`` of ``d = x - mean x``, or of ``d = x``."""
    candidates = [(d, inverse_deviation(by)) for d, by in either(step(root, "arith.mulf"))]
    quotient = step(root, "arith.divf")
    if quotient is not None and len(quotient) == 2:
        candidates.append((quotient[0], deviation(quotient[1])))
    for d, found in candidates:
        if found is None or not isinstance(d, SSAValue):
            continue
        squared, squares, epsilon = found
        center, axes = centered(d), squares.axes_list
        if center is not None and center[1] == axes and center == centered(squared):
            return kernel.NormalizeOp(center[0], [], axes, epsilon)
        if squared is d:
            return kernel.NormalizeOp(d, [], axes, epsilon, center=False)
    return None


def affine(root: SSAValue) -> kernel.NormalizeOp | None:
    """A scale of a normalization, or a shift of a scaled one."""
    for name, count in (("arith.mulf", 1), ("arith.addf", 2)):
        for value, by in either(step(root, name)):
            op = value.owner if isinstance(value, SSAValue) else None
            if not isinstance(op, kernel.NormalizeOp) or len(op.inputs) != count:
                continue
            shape = op.result.type.get_shape()
            if not isinstance(by, SSAValue) or by is value or len(list(op.result.uses)) != 1:
                continue
            if broadcast_shapes(tensor_type(by).get_shape(), shape) != shape:
                continue
            x, *given = op.inputs
            epsilon = op.epsilon.value.data
            return kernel.NormalizeOp(x, [*given, by], op.axes_list, epsilon, bool(op.center))
    return None


def unflattened(op: kernel.MatmulOp) -> kernel.MatmulOp | None:
    """A product in the batch dimensions that its operands or its users have, not in one of all.

    So no view stands between a product and what comes before or after it.
    """
    a, b, out = (tensor_type(v).get_shape() for v in (op.a, op.b, op.result))
    if len(a) != 3 or len(b) != 3 or a[0] != b[0]:
        return None
    around = [v.owner.source for v in (op.a, op.b) if isinstance(v.owner, kernel.ReshapeOp)]
    users = [use.operation for use in op.result.uses]
    around += [user.result for user in users if isinstance(user, kernel.ReshapeOp)]
    matrices = [a[1:], b[1:], out[1:]]
    for shape in (tensor_type(v).get_shape() for v in around):
        batch = shape[:-2]
        if len(batch) < 2 or prod(batch) != a[0] or shape[-2:] not in matrices:
            continue
        x, y = (
            kernel.ReshapeOp(v, (*batch, *tensor_type(v).get_shape()[1:])) for v in (op.a, op.b)
        )
        return kernel.MatmulOp(
            x.result,
            y.result,
            transpose_a=bool(op.transpose_a),
            transpose_b=bool(op.transpose_b),
            element_type=op.result.type.element_type,
        )
    return None


RAISERS: tuple[Callable[[SSAValue], Operation | None], ...] = (
    softmax,
    log_softmax,
    normalization,
    affine,
)


def raise_names(region: Region, products: bool = True) -> None:
    """Put softmax and normalization in the place of their last steps; the others die.

    With ``products``, those of collapsed batches get their dimensions back.
    """
    for op in list(region.block.ops):
        if (
            products
            and isinstance(op, kernel.MatmulOp)
            and (product := unflattened(op)) is not None
        ):
            view = kernel.ReshapeOp(product.result, op.result.type.get_shape())
            views = [v.owner for v in product.operands if isinstance(v.owner, Operation)]
            for new in (*views, product, view):
                new.location = op.location
                region.block.insert_op_before(new, op)
            op.result.replace_all_uses_with(view.result)
        if not isinstance(op, kernel.MapOp) or not isinstance(
            op.result.type.element_type, AnyFloat
        ):
            continue
        for named in RAISERS:
            new = named(op.result)
            if new is not None and new.results[0].type == op.result.type:
                new.location = op.location
                region.block.insert_op_before(new, op)
                new.results[0].name_hint = op.result.name_hint
                op.result.replace_all_uses_with(new.results[0])
                break
