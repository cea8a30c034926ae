"""The largest elements of a row that does not fit on chip: found in the pieces that hold them.

A row is cut into pieces. The k largest elements stand in the k pieces with the largest maxima (of equal
ones the first), so that the row is read once, for the maxima, and no more than k pieces again.

Before:
```mlir
%i = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<2x65536xf32> -> tensor<2x1xi64>
```
After:
```mlir
%v = kernel.reshape %x : tensor<2x65536xf32> -> tensor<2x256x256xf32>
%m = kernel.reduce max %v axes [2] : tensor<2x256x256xf32> -> tensor<2x256x1xf32>
%p = kernel.arg_reduce max %m {axis = 1 : i64} : tensor<2x256x1xf32> -> tensor<2x1x1xi64>
%r = kernel.map %p, %first { p + first } : ... -> tensor<2x1x1xi64>
%w = kernel.gather %pieces, %r {axis = 0 : i64} : (tensor<512x256xf32>, ...) -> tensor<2x1x1x256xf32>
%j = kernel.arg_reduce max %w {axis = 3 : i64} : ... -> tensor<2x1x1x1xi64>
%i = kernel.map %p, %j { p * 256 + j } : ... -> tensor<2x1xi64>
```
A row of prime length has no such pieces; its reductions are streamed (``kernel_to_tile/row_passes``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt, prod
from typing import Any

from xdsl.dialects.builtin import i64
from xdsl.ir import Operation, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.machine import Machine
from kpu_ir.passes.kernel_build import counting, put
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import trace
from kpu_ir.support.types import bits_of

Choice = kernel.ArgReduceOp | kernel.TopKOp


def split_choice(op: Choice, machine: Machine) -> list[Choice]:
    """Put smaller choices in the place of one of a long row, with what is around them; these, none
    where it stays as it is."""
    shape, axis = tensor_type(op.source).get_shape(), op.dimension
    count = op.count if isinstance(op, kernel.TopKOp) else 1
    piece = piece_of(shape[axis], count, tensor_type(op.source).element_type, machine)
    inner = prod(shape[axis + 1 :])
    if not piece or (inner != 1 and isinstance(op, kernel.TopKOp)):
        return []
    split = _Split(op, shape[axis] // piece, piece, inner)
    results = split.largest(op, count) if isinstance(op, kernel.TopKOp) else split.place(op)
    put(op, split.made, results)
    return [one for one in split.made if isinstance(one, kernel.ArgReduceOp | kernel.TopKOp)]


def piece_of(extent: int, count: int, kind: Any, machine: Machine) -> int:
    """The length of the pieces of a row: few of them, and few elements in ``count`` of them; 0 where
    the row fits on chip as it is (elements and numbers, on their way and compared), or where no
    length divides it."""
    if extent * (4 * bits_of(kind) // 8 + 16) <= machine.l2.bytes:
        return 0
    divisors = {d for n in range(2, isqrt(extent) + 1) if extent % n == 0 for d in (n, extent // n)}
    fair = [
        d for d in divisors if extent // d >= count and 2 * max(d * count, extent // d) <= extent
    ]
    return min(fair, key=lambda d: (extent // d + count * d, d), default=0)


class _Split:
    """Kernels in the making, for rows of ``pieces`` x ``length``, ``inner`` of them side by side."""

    def __init__(self, op: Choice, pieces: int, length: int, inner: int) -> None:
        self.made: list[Operation] = []
        self.pieces, self.length, self.inner = pieces, length, inner
        rows = tensor_type(op.source).element_count() // (pieces * length * inner)
        self.rows, self.source = rows, op.source
        self.shape = tensor_type(op.results[-1]).get_shape()

    def add(self, op: Any) -> SSAValue:
        """A kernel of one result."""
        self.made.append(op)
        return op.results[0]

    def view(self, value: SSAValue, *shape: int) -> SSAValue:
        """Another shape."""
        same = tensor_type(value).get_shape() == shape
        return value if same else self.add(kernel.ReshapeOp(value, shape))

    def map(self, formula: Callable[..., Any], *values: SSAValue) -> SSAValue:
        """A function of each element."""
        body, element = trace(formula, [tensor_type(v).element_type for v in values])
        return self.add(kernel.MapOp(values, body, element))

    def best(self, kind: str) -> SSAValue:
        """The largest element of each piece, rows x pieces (x inner)."""
        side = () if self.inner == 1 else (self.inner,)
        cut = self.view(self.source, self.rows, self.pieces, self.length, *side)
        best = self.add(kernel.ReduceOp(kind, cut, [2]))
        return self.view(best, self.rows, self.pieces, *side)

    def numbered(self, places: SSAValue, each: int) -> SSAValue:
        """Places in rows of ``each`` as places in all rows, one behind the other."""
        if self.rows == 1:
            return places
        first = self.add(counting(i64, (self.rows, 1)))
        return self.map(lambda p, r: p + r * each, places, first)

    def chosen(self, places: SSAValue, count: int) -> SSAValue:
        """The elements of the pieces at ``places`` (rows x count), one behind the other."""
        table = self.view(self.source, self.rows * self.pieces, self.length)
        found = self.add(kernel.GatherOp(table, self.numbered(places, self.pieces), 0))
        return self.view(found, self.rows, count * self.length)

    def columns(self, places: SSAValue) -> SSAValue:
        """The elements of the pieces at ``places`` (rows x 1 x inner): rows x length x inner."""
        pieces, length, inner = self.pieces, self.length, self.inner
        shapes = ((self.rows, 1, 1), (1, length, 1), (1, 1, inner))
        numbers = [self.add(counting(i64, shape)) for shape in shapes]
        at = self.map(
            lambda p, r, j, c: ((p + r * pieces) * length + j) * inner + c, places, *numbers
        )
        return self.add(
            kernel.GatherOp(self.view(self.source, tensor_type(self.source).element_count()), at, 0)
        )

    def place(self, op: kernel.ArgReduceOp) -> Sequence[SSAValue]:
        """Where the largest stands: in which piece, and where in it."""
        kind, last = op.kind_name, bool(op.last)
        piece = self.add(kernel.ArgReduceOp(kind, self.best(kind), 1, last))
        found = self.chosen(piece, 1) if self.inner == 1 else self.columns(piece)
        inside = self.add(kernel.ArgReduceOp(kind, found, 1, last))
        place = self.map(lambda p, i: p * self.length + i, piece, inside)
        return [self.view(place, *self.shape)]

    def largest(self, op: kernel.TopKOp, count: int) -> Sequence[SSAValue]:
        """The largest elements, and where they stand: those of the best pieces, which come in the
        order of the row, so that of equal elements the first is the first."""
        smallest, length = bool(op.smallest), self.length
        best = self.best("min" if smallest else "max")
        falling = kernel.TopKOp(best, count, 1, smallest)
        self.made.append(falling)
        # A NaN has no place among others; whatever it is, it is in the row.
        within = self.map(lambda p: formulas.minimum(p, self.pieces - 1), falling.indices)
        pieces = self.add(kernel.TopKOp(within, count, 1, smallest=True))
        found = kernel.TopKOp(self.chosen(pieces, count), count, 1, smallest)
        self.made.append(found)
        # The place among the candidates says which of the pieces, and where in it.
        most = count * length - 1
        which = self.map(
            lambda i: formulas.divide(formulas.minimum(i, most), length), found.indices
        )
        flat = self.view(pieces, self.rows * count)
        numbers = self.add(kernel.GatherOp(flat, self.numbered(which, count), 0))
        place = self.map(
            lambda p, i, w: p * length + (i - w * length), numbers, found.indices, which
        )
        return [self.view(found.chosen, *self.shape), self.view(place, *self.shape)]
