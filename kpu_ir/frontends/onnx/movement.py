"""Operators that move elements: slices, joins, padding, repetition."""

from __future__ import annotations

import numpy as np

from kpu_ir.dialects.kernel import broadcast_shapes
from kpu_ir.frontends.onnx.choosing import axis_of, check_made
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.layers import dimension
from kpu_ir.support.errors import KpuError


@operator("Gather")
def gather(node: Node) -> Tensor:
    """Slices by index."""
    axis = axis_of(node, 0)
    indices = node.known(1)
    if indices is not None and indices.ndim == 0:
        x, graph = node.value(0), node.graph
        at = int(indices) + x.shape[axis] * (int(indices) < 0)
        starts = [at if a == axis else 0 for a in range(len(x.shape))]
        kept = [1 if a == axis else n for a, n in enumerate(x.shape)]
        part = graph.slice(x, starts, [1] * len(starts), kept)
        return graph.reshape(part, [n for a, n in enumerate(x.shape) if a != axis])
    return node.graph.gather(node.value(0), node.value(1), axis)


@operator("Concat")
def concat(node: Node) -> Tensor:
    """One behind the other."""
    values = [v for v in node.values() if 0 not in v.shape]
    axis = axis_of(node, 0)
    return node.graph.concat(values, axis) if len(values) > 1 else values[0]


@operator("Split")
def split(node: Node) -> list[Tensor]:
    """Into blocks along a dimension."""
    x, graph = node.value(0), node.graph
    axis = axis_of(node, 0)
    sizes = node.integers("split")
    if sizes is None and node.has(1):
        sizes = node.numbers(1, "split")
    if sizes is None:
        count = node.integer("num_outputs", len(node.proto.output))
        if count != len(node.proto.output):
            raise KpuError(f"num_outputs is {count}, there are {len(node.proto.output)} outputs")
        step = -(-x.shape[axis] // count)
        sizes = [min(step, x.shape[axis] - i * step) for i in range(count)]
    if sum(sizes) != x.shape[axis] or min(sizes) < 0 or len(sizes) != len(node.proto.output):
        raise KpuError(
            f"sizes {sizes} of {len(node.proto.output)} parts do not divide the extent "
            f"{x.shape[axis]} of dimension {axis}"
        )
    results: list[Tensor] = []
    at = 0
    for n in sizes:
        starts = [at if a == axis else 0 for a in range(len(x.shape))]
        shape = [n if a == axis else e for a, e in enumerate(x.shape)]
        results.append(graph.slice(x, starts, [1] * len(starts), shape))
        at += n
    return results


@operator("Slice")
def slice_(node: Node) -> Tensor:
    """NumPy's basic indexing."""
    x = node.value(0)
    rank = len(x.shape)
    if node.version < 10:
        starts, ends = node.integers("starts") or [], node.integers("ends") or []
        axes, steps = node.integers("axes"), None
    else:
        starts = node.numbers(1, "starts")
        ends = node.numbers(2, "ends")
        axes = node.numbers(3, "axes") if node.has(3) else None
        steps = node.numbers(4, "steps") if node.has(4) else None
    axes = [dimension(a, rank) for a in (axes if axes is not None else range(len(starts)))]
    if not len(starts) == len(ends) == len(axes) == len(steps or axes) or 0 in (steps or ()):
        raise KpuError(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit")
    chosen = [range(n) for n in x.shape]
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(axes)):
        chosen[axis] = range(x.shape[axis])[slice(start, end, step)]
    if any(len(r) == 0 for r in chosen):
        return np.zeros([len(r) for r in chosen], x.dtype)
    return node.graph.slice(
        x, [r[0] for r in chosen], [r.step for r in chosen], [len(r) for r in chosen]
    )


@operator("Pad")
def pad(node: Node) -> Tensor:
    """With a constant, or with elements of its own; less where the padding is negative."""
    mode = node.text("mode", "constant")
    x = node.value(0)
    rank = len(x.shape)
    pads = node.integers("pads") or node.integers("paddings")
    value = node.number("value", 0.0)
    if pads is None:
        pads = node.numbers(1, "pads")
        if node.has(2):
            value = float(node.must_be_known(2, "the value").reshape(-1)[0])
    if node.has(3):
        axes = [dimension(a, rank) for a in node.numbers(3, "axes")]
        if len(pads) != 2 * len(axes):
            raise KpuError(f"pads {pads} are not two numbers for each of {len(axes)} axes")
        full = [0] * (2 * rank)
        for i, axis in enumerate(axes):
            full[axis], full[axis + rank] = pads[i], pads[i + len(axes)]
        pads = full
    if len(pads) != 2 * rank:
        raise KpuError(f"pads {pads} are not two numbers for each of {rank} dimensions")
    low, high = pads[:rank], pads[rank:]
    starts = [max(0, -a) for a in low]
    kept = [n - s - max(0, -b) for n, s, b in zip(x.shape, starts, high)]
    if kept != list(x.shape):
        x = node.graph.slice(x, starts, [1] * rank, kept)
    above, behind = [max(0, a) for a in low], [max(0, b) for b in high]
    if mode != "constant":
        if mode not in ("edge", "reflect", "wrap"):
            raise KpuError(f"the mode {mode} of Pad is not supported")
        for axis, (a, b) in enumerate(zip(above, behind)):
            if a or b:
                check_made(x.shape[axis] + a + b)
                order = np.pad(np.arange(x.shape[axis]), (a, b), mode=mode)
                x = node.graph.take(x, order.tolist(), axis)
        return x
    return node.graph.pad(x, above, behind, value) if any((*above, *behind)) else x


@operator("Expand")
def expand(node: Node) -> Tensor:
    """NumPy's broadcasting, in both directions."""
    wanted = node.numbers(1, "shape")
    shape = broadcast_shapes(node.shape(0), tuple(wanted))
    if shape is None or min(wanted, default=1) < 0:
        raise KpuError(f"{node.shape(0)} does not broadcast to {tuple(wanted)}")
    return node.graph.broadcast(node.value(0), shape)


@operator("Tile")
def tile(node: Node) -> Tensor:
    """Repeats along dimensions: a broadcast along new ones."""
    x, graph = node.value(0), node.graph
    repeats = node.numbers(1, "repeats")
    if len(repeats) != len(x.shape) or min(repeats, default=0) < 0:
        raise KpuError(f"repeats {repeats} are not a number for each of {len(x.shape)} dimensions")
    spread = [n for e in x.shape for n in (1, e)]
    wanted = [n for r, e in zip(repeats, x.shape) for n in (r, e)]
    y = graph.broadcast(graph.reshape(x, spread), wanted)
    return graph.reshape(y, [r * e for r, e in zip(repeats, x.shape)])


@operator("DepthToSpace", "SpaceToDepth")
def depth_and_space(node: Node) -> Tensor:
    """Reshapes around a transposition."""
    x, graph, b = node.value(0), node.graph, node.integer("blocksize", 1)
    if len(x.shape) != 4 or b < 1:
        raise KpuError(f"blocks of {b} of a tensor of {len(x.shape)} dimensions: 4 are expected")
    n, c, h, w = x.shape
    if node.proto.op_type == "SpaceToDepth":
        order = (0, 3, 5, 1, 2, 4) if node.text("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
        y = graph.transpose(graph.reshape(x, (n, c, h // b, b, w // b, b)), order)
        return graph.reshape(y, (n, c * b * b, h // b, w // b))
    d = c // (b * b)
    if node.text("mode", "DCR") == "DCR":
        y = graph.transpose(graph.reshape(x, (n, b, b, d, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        y = graph.transpose(graph.reshape(x, (n, d, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return graph.reshape(y, (n, d, h * b, w * b))
