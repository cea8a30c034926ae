"""The ``kernel`` level: what is computed.

Values are builtin tensors of static shape, operations are pure. There are no loops, no memory and
no order here beyond what data needs. A contraction is a named operation with an explicit
accumulator type (its result's element type); everything elementwise is one operation,
``kernel.map``, whose body is scalar ``arith`` and ``math``.

Unsigned integers (``ui8``) exist as element types; as in MLIR, a scalar body sees them signless
(``scalar_type``) and chooses operations that read them as unsigned.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from kpu_ir.dialects.kernel.attention import AttentionOp
from kpu_ir.dialects.kernel.base import (
    KernelOperation,
    broadcast_shapes,
    scalar_type,
    shape_text,
    tensor_type,
)
from kpu_ir.dialects.kernel.choice import ArgReduceOp, TopKOp
from kpu_ir.dialects.kernel.core import (
    ConstantOp,
    FusedOp,
    MapOp,
    MatmulOp,
    ReshapeOp,
    TransposeOp,
    YieldOp,
    matmul_shape,
)
from kpu_ir.dialects.kernel.movement import BroadcastOp, ConcatOp, PadOp, SliceOp
from kpu_ir.dialects.kernel.quantized import DequantizeOp, QuantizeOp
from kpu_ir.dialects.kernel.rows import GatherOp, NormalizeOp, ReduceOp, ScanOp, SoftmaxOp
from kpu_ir.dialects.kernel.window import ConvOp, PoolOp

__all__ = [
    "ArgReduceOp",
    "AttentionOp",
    "BroadcastOp",
    "ConcatOp",
    "ConstantOp",
    "ConvOp",
    "DequantizeOp",
    "FusedOp",
    "GatherOp",
    "Kernel",
    "KernelOperation",
    "MapOp",
    "MatmulOp",
    "NormalizeOp",
    "PadOp",
    "PoolOp",
    "QuantizeOp",
    "ReduceOp",
    "ReshapeOp",
    "ScanOp",
    "SliceOp",
    "SoftmaxOp",
    "TopKOp",
    "TransposeOp",
    "YieldOp",
    "broadcast_shapes",
    "matmul_shape",
    "scalar_type",
    "shape_text",
    "tensor_type",
]

Kernel = Dialect(
    "kernel",
    [
        ConstantOp,
        MatmulOp,
        ConvOp,
        MapOp,
        ReduceOp,
        ScanOp,
        SoftmaxOp,
        NormalizeOp,
        PoolOp,
        ReshapeOp,
        TransposeOp,
        SliceOp,
        ConcatOp,
        PadOp,
        BroadcastOp,
        GatherOp,
        ArgReduceOp,
        TopKOp,
        AttentionOp,
        QuantizeOp,
        DequantizeOp,
        FusedOp,
        YieldOp,
    ],
)
