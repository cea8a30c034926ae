"""ONNX models become the ``kernel`` level.

``load`` reads files, ``declared`` is what a model says of its inputs and outputs, ``order`` makes its
graph ready, ``importer`` walks it, ``control`` unrolls what stands in graphs of their own,
``functions`` writes operators as ONNX defines them, ``folding`` computes what is known, ``diagnosis``
asks ONNX what is wrong, ``work`` counts what nodes compute. The operators stand in tables by family,
in the other files. A new operator is one short function there, under ``@operator("Name")``.
"""

from kpu_ir.frontends.onnx import (
    attention,
    choosing,
    convolution,
    counting,
    elementwise,
    microsoft,
    microsoft_attention,
    microsoft_quantized,
    microsoft_quantized_text,
    movement,
    pooling,
    products,
    qonnx,
    quantized,
    quantized_products,
    recurrent,
    recurrent_quantized,
    resize,
    rows,
    sampling,
    scans,
    scatter,
    shapes,
    signals,
)
from kpu_ir.frontends.onnx.importer import import_onnx
from kpu_ir.frontends.onnx.node import OPERATORS

__all__ = [
    "OPERATORS",
    "attention",
    "choosing",
    "convolution",
    "counting",
    "elementwise",
    "import_onnx",
    "microsoft",
    "microsoft_attention",
    "microsoft_quantized",
    "microsoft_quantized_text",
    "movement",
    "pooling",
    "products",
    "qonnx",
    "quantized",
    "quantized_products",
    "recurrent",
    "recurrent_quantized",
    "resize",
    "rows",
    "sampling",
    "scans",
    "scatter",
    "shapes",
    "signals",
]
