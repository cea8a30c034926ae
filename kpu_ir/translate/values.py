"""What the operations of queues compute: the data of ``executor``, by NumPy.

A slot holds an array of the extents that were written to it. Scalar bodies and functions of rows are
those of ``kpu_ir.scalar``; everything else is written here once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.parser import Parser

from kpu_ir.registry import context
from kpu_ir.scalar.body import Body, compile_body
from kpu_ir.scalar.rows import row_function
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, accumulator_dtype, array_of, dtype_of, fill_of, stored
from kpu_ir.translate.executor import Executor, Issued, Object, Place

COMBINE = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}


def execute(
    program: Object, inputs: Mapping[str, Array], constants: Mapping[int, Any]
) -> tuple[dict[str, Array], Executor]:
    """The outputs of a program's queues by name, and the executor with their time. ``constants``: the
    values of constants by the number of their tensor."""
    data = _Data(program)
    executor = Executor(program, data.compute)
    given = {p["buffer"]: inputs[p["name"]] for p in program["inputs"]}
    for i, tensor in enumerate(program["memory"]):
        shape, dtype = shape_of(tensor["type"])
        value = given.get(i)
        if i in constants:
            value = array_of(constants[i])
        if value is None:
            value = np.zeros(shape, dtype)
        executor.tensors[i].data = np.ascontiguousarray(value).reshape(-1)
    executor.run()
    return {
        p["name"]: executor.tensors[p["buffer"]].data.reshape(shape_of(p["type"])[0])
        for p in program["outputs"]
    }, executor


def constants_of(buffers: Any) -> dict[int, DenseIntOrFPElementsAttr]:
    """The constants of a program's buffers that have values."""
    return {b.index: b.value for b in buffers if isinstance(b.value, DenseIntOrFPElementsAttr)}


@lru_cache(maxsize=1 << 12)
def shape_of(text: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """``4x8xf32`` as extents and dtype."""
    *extents, element = text.split("x")
    return tuple(map(int, extents)), dtype_named(element)


@lru_cache(maxsize=64)
def dtype_named(element: str) -> np.dtype[Any]:
    """The dtype of ``f32``, ``i8``, ..."""
    return dtype_of(Parser(context(), element).parse_type())


@lru_cache(maxsize=1 << 10)
def _body(text: str, segments: int) -> Body:
    return compile_body(Parser(context(), text).parse_region().block, segments=segments)


class _Data:
    """The operations of one program."""

    def __init__(self, program: Object) -> None:
        self.segments: int = program["machine"]["vector"].get("table_segments", 0)
        self.kinds: dict[tuple[str, str], np.dtype[Any]] = {
            (k["name"], r["name"]): shape_of(r["type"])[1]
            for k in program["kernels"]
            for r in k["rings"]
        }

    def compute(
        self, kernel: Object, op: Object, now: Issued, reads: list[Place], into: Place
    ) -> None:
        """Run one operation."""
        names = [*op["reads"], *([op["sums"]] if "sums" in op else [])]
        arrays = [
            place.data.reshape(shape_of(kernel["parameters"][int(name[1:])])[0])
            if name[0] == "%"
            else place.data
            for name, place in zip(names, reads)
        ]
        at = now.at or (0,) * 16
        if op["op"] == "write":
            shape, _ = shape_of(kernel["parameters"][int(op["into"][1:])])
            where = tuple(slice(a, a + n) for a, n in zip(at, op["extents"]))
            into.data.reshape(shape)[where] = arrays[0]
            return
        dtype = self.kinds[kernel["name"], op["into"]]
        extents = tuple(op["extents"])
        result = getattr(self, op["op"])(op, arrays, at, into, dtype)
        if np.shape(result) != extents:
            result = np.broadcast_to(result, extents)
        into.data = np.array(stored(np.asarray(result), dtype))

    # -- transfers --------------------------------------------------------------------------------

    def fetch(self, op: Object, arrays: list[Array], at: Any, into: Place, dtype: Any) -> Array:
        source, extents = arrays[0], op["extents"]
        if len(arrays) > 1:
            first, listed, *rest = (slice(a, a + n) for a, n in zip(at, extents))
            index = arrays[1][listed]
            if index.size and not -source.shape[1] <= index.min() <= index.max() < source.shape[1]:
                raise KpuError(
                    f"an index of {index.min()} to {index.max()} into {source.shape[1]} rows"
                )
            return source[(first, index, *rest)]
        if "low" not in op:
            return source[tuple(slice(a, a + n) for a, n in zip(at, extents))]
        out = np.full(extents, fill_of(float(op["fill"]), dtype), dtype)
        begin = [a - n for a, n in zip(at, op["low"])]
        first = [max(0, b) for b in begin]
        last = [max(f, min(b + n, s)) for f, b, n, s in zip(first, begin, extents, source.shape)]
        inside = tuple(slice(f - b, z - b) for f, z, b in zip(first, last, begin))
        out[inside] = source[tuple(slice(f, z) for f, z in zip(first, last))]
        return out

    def move(self, op: Object, arrays: list[Array], at: Any, into: Place, dtype: Any) -> Array:
        extents = op.get("block", op["extents"])
        block = arrays[0][tuple(slice(a, a + n) for a, n in zip(at, extents))]
        return block.transpose(op["order"]) if "order" in op else block

    def put(self, op: Object, arrays: list[Array], at: Any, into: Place, dtype: Any) -> Array:
        return arrays[0]

    # -- computing --------------------------------------------------------------------------------

    def matmul(self, op: Object, arrays: list[Array], at: Any, into: Place, dtype: Any) -> Array:
        a, b, *extra = arrays
        before = into.data
        if op["apart"]:
            *extra, before = extra
        total = dtype_named(op["sum"])
        wide = total if total.kind in "iu" or total == np.float64 else np.dtype(np.float32)
        if "window" in op:
            a = a.reshape(op["m"], -1)
            b = _windows(b, op["window"]).reshape(-1, op["n"])
        if a.dtype == b.dtype == total and wide == total:
            c = np.matmul(a, b)
        else:
            c = np.matmul(a.astype(wide), b.astype(wide))
        c = c.reshape(op["extents"])
        if "each" in op:
            c = _body(op["epilogue"], self.segments)(c, *extra)
            return before.reshape(c.shape) + c if op["accumulate"] else c
        if op["accumulate"]:
            c = before.reshape(c.shape) + c
        c = c.astype(total, copy=False)
        if "epilogue" in op:
            c = _body(op["epilogue"], self.segments)(c, *extra)
        return c

    def map(self, op: Object, arrays: list[Array], at: Any, into: Place, dtype: Any) -> Array:
        return _body(op["body"], self.segments)(*arrays)

    def reduce(self, op: Object, arrays: list[Array], at: Any, into: Place, dtype: Any) -> Array:
        combine, wide = COMBINE[op["reduction"]], accumulator_dtype(dtype)
        part = combine.reduce(
            arrays[0].astype(wide, copy=False), axis=tuple(op["axes"]), keepdims=True
        )
        return combine(into.data.astype(wide), part) if op["accumulate"] else part

    def rowwise(self, op: Object, arrays: list[Array], at: Any, into: Place, dtype: Any) -> Array:
        axis = op["axis"]
        count = op["extents"][axis]
        return row_function(op["function"], arrays, axis, count, op["backward"], op["exclusive"])

    def windowed(self, op: Object, arrays: list[Array], at: Any, into: Place, dtype: Any) -> Array:
        source, *extra = arrays
        (rows, columns), _, _ = op["window"]
        total_type = dtype_named(op["sum"])
        wide, combine = accumulator_dtype(total_type), COMBINE[op["reduction"]]
        view = _windows(source, op["window"])
        weights = None
        if op["weights"]:
            weights, *extra = extra
            weights = weights.reshape(-1, rows, columns, 1, 1).astype(wide)
        total = None
        for i in range(rows):
            for j in range(columns):
                tap = view[:, i, j].astype(wide)
                if weights is not None:
                    tap = tap * weights[:, i, j]
                total = tap if total is None else combine(total, tap)
        assert total is not None
        result = total.reshape(op["extents"])
        if "epilogue" in op:
            result = _body(op["epilogue"], self.segments)(result.astype(total_type), *extra)
        return result


def _windows(x: Array, window: Any) -> Array:
    """The values under each position of a window: ``c x kh x kw x oh x ow``."""
    (kh, kw), (sh, sw), (dh, dw) = window
    height, width = x.shape[-2:]
    oh, ow = (height - (kh - 1) * dh - 1) // sh + 1, (width - (kw - 1) * dw - 1) // sw + 1
    x = x.reshape(-1, height, width)
    out = np.empty((x.shape[0], kh, kw, oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            part = x[:, i * dh : i * dh + (oh - 1) * sh + 1 : sh]
            out[:, i, j] = part[:, :, j * dw : j * dw + (ow - 1) * sw + 1 : sw]
    return out
