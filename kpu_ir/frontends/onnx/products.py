"""ONNX's matrix products."""

from __future__ import annotations

from typing import Any

from kpu_ir.errors import KpuError
from kpu_ir.frontends.onnx.elementwise import apply
from kpu_ir.frontends.onnx.node import Node, Tensor, operator


@operator("MatMul")
def matmul(node: Node) -> Tensor:
    """NumPy's matmul."""
    return node.graph.matmul(node.value(0), node.value(1))


@operator("Gemm")
def gemm(node: Node) -> Tensor:
    """alpha A' B' + beta C; the sum is one map after the product."""
    a, b = node.value(0), node.value(1)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise KpuError(f"expected matrices, got ranks {len(a.shape)} and {len(b.shape)}")
    product = node.graph.matmul(
        a,
        b,
        transpose_a=bool(node.integer("transA", 0)),
        transpose_b=bool(node.integer("transB", 0)),
    )
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)

    def scaled(x: Any) -> Any:
        return x if alpha == 1.0 else x * alpha

    def with_c(x: Any, y: Any) -> Any:
        return scaled(x) + (y if beta == 1.0 else y * beta)

    c = node.inputs[2] if node.has(2) else None
    if c is not None and beta != 0.0:
        result = apply(node, with_c, product, c)
        if result.shape != product.shape:
            raise KpuError(f"C of shape {c.shape} does not broadcast to {product.shape}")
        return result
    return product if alpha == 1.0 else apply(node, scaled, product)
