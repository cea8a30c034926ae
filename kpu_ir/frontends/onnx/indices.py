"""Indices that are known at import are within what they index; negative ones count from its end."""

from __future__ import annotations

import numpy as np

from kpu_ir.frontends.onnx.choosing import axis_of
from kpu_ir.frontends.onnx.node import Node
from kpu_ir.support.errors import KpuError

ONE = ("Gather", "GatherElements", "ScatterElements", "Scatter")
"""Operators whose indices (input 1) are of one dimension of input 0, their ``axis``."""

SEVERAL = ("GatherND", "ScatterND")
"""Operators whose last dimension of indices has one for each of the first dimensions."""


def check_indices(node: Node) -> None:
    """Raises ``KpuError`` for a known index that is not there. Nothing that computes on it would say
    so as well: it would be that of another row by then, or a traceback of NumPy's."""
    kind, indices = node.proto.op_type, node.known(1)
    if node.proto.domain or kind not in (*ONE, *SEVERAL) or not node.has(0):
        return
    if indices is None or indices.dtype.kind not in "iu":
        return
    if kind in ONE:
        first, depth, lines = axis_of(node, 0), 1, indices.reshape(-1, 1)
    else:
        first = node.integer("batch_dims", 0) if kind == "GatherND" else 0
        depth = indices.shape[-1] if indices.ndim else 0
        lines = indices.reshape(-1, max(1, depth))
    extents = node.shape(0)[first : first + depth]
    if not 0 < depth == len(extents):
        return  # shapes that do not fit are told by whoever reads them
    bad = np.argwhere((lines < -np.array(extents)) | (lines >= np.array(extents)))
    if len(bad):
        row, at = bad[0].tolist()
        raise KpuError(
            f"index {lines[row, at]} is outside the extent {extents[at]} of dimension {first + at}"
        )
