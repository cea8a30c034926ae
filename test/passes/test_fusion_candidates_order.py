"""Where operations are moved to does not depend on where objects stand in memory."""

import numpy as np
from xdsl.dialects.func import FuncOp

from kpu_ir.dialects import kernel
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.passes.kernel_fusion_candidates import KernelFusionCandidatesPass
from kpu_ir.registry import context
from kpu_ir.support.types import array_of


def test_constants_that_come_too_late_are_moved_in_order() -> None:
    g, count = Graph(), 9
    x = g.input("x", (16, 16))
    results = [g.matmul(x, g.constant(np.full((16, 16), i, np.float32))) for i in range(count)]
    for i, y in enumerate(results):
        g.output(f"y{i}", y)
    module = g.module()
    KernelFusionCandidatesPass().apply(context(), module)
    (main,) = (op for op in module.ops if isinstance(op, FuncOp))
    values = [
        float(array_of(op.value)[0, 0])
        for op in main.body.block.ops
        if isinstance(op, kernel.ConstantOp)
    ]
    assert values == [*range(1, count), 0]  # before the first operation, which is a constant itself
