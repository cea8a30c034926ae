"""ONNX models become the ``kernel`` altitude.

``load`` reads files, ``importer`` walks the graph, and the operators stand in tables by family:
``elementwise``, ``products``, ``shapes``. A new operator is one short function there, under
``@operator("Name")``.
"""

from kpu_ir.frontends.onnx import elementwise, networks, products, shapes
from kpu_ir.frontends.onnx.importer import import_onnx
from kpu_ir.frontends.onnx.node import OPERATORS

__all__ = ["OPERATORS", "elementwise", "import_onnx", "networks", "products", "shapes"]
