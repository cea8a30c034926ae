"""Weights that are stored packed: in panels as wide as a tile, one behind the other, so that each tile
is one run of memory. That is done once, at compile time, to the bytes of a constant.

A matrix of rows x columns in panels of w columns is a matrix of (rows columns / w) x w: the element
at (r, c) stands in row (c / w) rows + r, in column c % w. A tile that begins at (r, c), w wide, begins
in row r + c rows / w there, which counts in whole steps where w divides rows as well.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import (
    BytesAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    TensorType,
)

from kpu_ir.lowering.shapes import Shape
from kpu_ir.support.types import bits_of

Weights = DenseIntOrFPElementsAttr | DenseResourceAttr


def packable(rows: int, columns: int, height: int, width: int) -> bool:
    """Whether a matrix that is read in tiles of ``height`` x ``width`` is stored in panels, and not as
    it is. Tiles divide it: behind the last row of a panel stands the next one."""
    return width < columns and columns % width == 0 and rows % width == 0 and rows % height == 0


def packed_shape(shape: Shape, width: int) -> Shape:
    """The shape of a matrix that stands in panels.

    >>> packed_shape((768, 3072), 256)
    (9216, 256)
    """
    rows, columns = shape
    return rows * columns // width, width


def packed_weights(value: Weights, shape: Shape, width: int) -> Weights:
    """The constant in panels; ``shape``: the matrix that it is seen as."""
    old = value.get_type()
    assert isinstance(old, TensorType)
    kind = old.element_type
    new = TensorType(kind, packed_shape(shape, width))
    if isinstance(value, DenseResourceAttr):
        return DenseResourceAttr(value.resource_handle, new)
    size = bits_of(kind) // 8
    rows, columns = shape
    data = np.frombuffer(value.data.data, np.uint8).reshape(rows, columns // width, width * size)
    return DenseIntOrFPElementsAttr(new, BytesAttr(data.transpose(1, 0, 2).tobytes()))
