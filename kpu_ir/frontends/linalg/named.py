"""Operations with a kernel of the same name, and ``arith`` and ``math`` of whole tensors."""

from __future__ import annotations

from math import prod

from xdsl.dialects import arith
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Operation

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import scalar_type
from kpu_ir.frontends.linalg.access import Unsupported, integer, name_of, segments, static
from kpu_ir.frontends.linalg.movement import Surroundings, handles
from kpu_ir.frontends.linalg.scalars import reshaped
from kpu_ir.frontends.python.value import Value


@handles("linalg.softmax")
def softmax(at: Surroundings, op: Operation) -> Value:
    """Along one dimension."""
    return at.graph.softmax(at.tensor(op.operands[0]), integer(op, "dimension"))


@handles("tm_tensor.attention")
def attention(at: Surroundings, op: Operation) -> Value:
    """Of ... x s x d by ... x t x d, each of the leading dimensions a head; a mask is added."""
    values = [at.tensor(v) for v in segments(op, 2)[0]]
    if len(values) not in (3, 4) or len({v.shape[:-2] for v in values}) != 1:
        raise Unsupported("expected queries, keys, values and perhaps a mask of the same heads")
    heads = prod(values[0].shape[:-2])
    q, k, v, *mask = (reshaped(at.graph, v, (1, heads, *v.shape[-2:])) for v in values)
    result = at.graph.attention(q, k, v, mask[0] if mask else None)
    return reshaped(at.graph, result, static(op.results[0]).get_shape())


def elementwise(at: Surroundings, op: Operation) -> Value:
    """``arith`` and ``math`` of whole tensors."""
    values = [at.tensor(v) for v in op.operands]
    block = Block(arg_types=[scalar_type(v.element_type) for v in values])
    kind = static(op.results[0]).element_type
    inner = type(op).create(
        operands=list(block.args), result_types=[kind], properties=op.properties
    )
    block.add_ops([inner, kernel.YieldOp(inner.results[0])])
    return at.graph.insert(kernel.MapOp([v.ssa for v in values], block))


def is_elementwise(op: Operation) -> bool:
    """Whether an operation is one of ``arith`` or ``math`` on tensors."""
    plain = name_of(op).startswith(("arith.", "math.")) and not isinstance(op, arith.ConstantOp)
    return plain and bool(op.results) and isinstance(op.results[0].type, TensorType)
