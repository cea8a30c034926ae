"""ONNX models become the ``kernel`` level.

``load`` reads files, ``importer`` walks the graph, ``work`` counts what nodes compute, and the
operators stand in tables by family: ``elementwise``, ``products``, ``shapes``, ``networks``
(windows, rows, movement), ``attention``, ``choosing`` (by size and index), ``resize``,
``recurrent``. A new operator is one short function there, under ``@operator("Name")``.
"""

from kpu_ir.frontends.onnx import (
    attention,
    choosing,
    elementwise,
    networks,
    products,
    recurrent,
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
    "recurrent",
    "resize",
    "shapes",
]
