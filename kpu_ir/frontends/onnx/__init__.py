"""ONNX models become the ``kernel`` altitude.

``load`` reads files, ``importer`` walks the graph, and the operators stand in tables by family:
``elementwise``, ``products``, ``shapes``, ``networks`` (windows, rows, movement), ``attention``,
``choosing`` (by size and index), ``resize``. A new operator is one short function there, under
``@operator("Name")``.
"""

from kpu_ir.frontends.onnx import (
    attention,
    choosing,
    elementwise,
    networks,
    products,
    resize,
    shapes,
)
from kpu_ir.frontends.onnx.importer import import_onnx
from kpu_ir.frontends.onnx.node import OPERATORS

__all__ = [
    "OPERATORS",
    "attention",
    "choosing",
    "elementwise",
    "import_onnx",
    "networks",
    "products",
    "resize",
    "shapes",
]
