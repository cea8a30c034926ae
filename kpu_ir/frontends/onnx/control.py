"""If, Loop and Scan: what is in their graphs stands where they stand.

Nothing branches on the machine: a condition that is known when the model is compiled chooses a
branch, a trip count that is known then is unrolled (steps differ in an index only, so that their
kernels are the same and compiled once). A condition that is known only at run time chooses between
the results of both branches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kpu_ir.frontends.onnx.declared import extent
from kpu_ir.frontends.onnx.node import Constants, Tensor
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.support.errors import KpuError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

MOST_STEPS = 1 << 14
"""Steps times nodes of a body; more are refused."""


class Walker(Protocol):
    """Who imports the nodes of a graph."""

    constants: Constants

    def inside(self, graph: GraphProto, bound: Mapping[str, Tensor]) -> list[Tensor]:
        """The outputs of a branch or body whose inputs are ``bound``."""
        ...


Control = Callable[[Walker, "NodeProto", Sequence[Tensor | None]], list[Tensor]]


def _graph(node: NodeProto, name: str) -> GraphProto:
    for attribute in node.attribute:
        if attribute.name == name and attribute.HasField("g"):
            return attribute.g
    raise KpuError(f"it has no {name}")


def _given(node: NodeProto) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {a.name: get_attribute_value(a) for a in node.attribute if not a.HasField("g")}


def _known(tensor: Tensor | None, what: str) -> Any:
    """The one number that a tensor is."""
    if isinstance(tensor, np.ndarray) and tensor.size == 1:
        return tensor.reshape(-1)[0].item()
    raise KpuError(
        f"{what} must be known when the model is compiled",
        hint="shapes are static here: give the input that it depends on a value "
        "(kpu-run --input name=value)",
    )


def _value(walker: Walker, tensor: Tensor, name: str) -> Value:
    return tensor if isinstance(tensor, Value) else walker.constants.value(tensor, name)


def branch(walker: Walker, node: NodeProto, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """If: the branch that its condition chooses, or both and then their results."""
    condition = inputs[0] if inputs else None
    if condition is None:
        raise KpuError("its condition is missing")
    graphs = [_graph(node, "then_branch"), _graph(node, "else_branch")]
    if isinstance(condition, np.ndarray):
        return walker.inside(graphs[0] if _known(condition, "its condition") else graphs[1], {})
    both = [walker.inside(graph, {}) for graph in graphs]
    chosen: list[Tensor] = []
    for name, then, other in zip(node.output, *both):
        if then.shape != other.shape or then.dtype != other.dtype:
            raise KpuError(
                f"{name!r} is of {then.dtype} and shape {tuple(then.shape)} in one branch, of "
                f"{other.dtype} and {tuple(other.shape)} in the other, and what chooses between them "
                "is known only at run time",
                hint="give the input that chooses a value: kpu-run --input name=value",
            )
        graph = condition.graph
        test = graph.reshape(condition, (1,) * len(then.shape))
        pair = [_value(walker, tensor, name) for tensor in (then, other)]
        chosen.append(graph.map(formulas.where, test, *pair))
    return chosen


def loop(walker: Walker, node: NodeProto, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """Loop: as many steps as its trip count or its condition says, both known."""
    body = _graph(node, "body")
    count = None if not inputs or inputs[0] is None else int(_known(inputs[0], "its trip count"))
    going = len(inputs) < 2 or inputs[1] is None or bool(_known(inputs[1], "its condition"))
    carried = list(inputs[2:])
    names = [info.name for info in body.input]
    states = len(carried)
    if len(names) != states + 2 or len(body.output) < states + 1 or None in carried:
        raise KpuError(f"its body takes {len(names)} values; {states + 2} are given to it")
    gathered: list[list[Tensor]] = [[] for _ in body.output[states + 1 :]]
    step = 0
    while going and (count is None or step < count):
        _check_steps(step if count is None else count, body)
        bound: dict[str, Any] = dict(zip(names[2:], carried))
        bound[names[0]], bound[names[1]] = np.array(step, np.int64), np.array(True)
        condition, *results = walker.inside(body, bound)
        carried = list(results[:states])
        for kept, value in zip(gathered, results[states:]):
            kept.append(value)
        # A condition that is carried on unchanged needs no look.
        going = bool(_known(condition, "its condition"))
        step += 1
    stacks = [
        _stacked(walker, values, 0, info, name)
        for values, info, name in zip(gathered, body.output[states + 1 :], node.output[states:])
    ]
    return [*(c for c in carried if c is not None), *stacks]


def scan(walker: Walker, node: NodeProto, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """Scan: a step for each element of a dimension, known as all shapes are."""
    body, given = _graph(node, "body"), _given(node)
    tensors = [tensor for tensor in inputs if tensor is not None]
    if len(inputs) == len(body.input) + 1:
        return _scan_of_batches(walker, node, inputs)  # before version 9
    count = int(given.get("num_scan_inputs", 0))
    states = len(tensors) - count
    if not 0 < count <= len(tensors) or len(body.input) != len(tensors):
        raise KpuError(f"its body takes {len(body.input)} values; {len(tensors)} are given to it")
    made = len(body.output) - states
    axes = [*given.get("scan_input_axes", [0] * count)]
    ways = [*given.get("scan_input_directions", [0] * count)]
    out_axes = [*given.get("scan_output_axes", [0] * made)]
    out_ways = [*given.get("scan_output_directions", [0] * made)]
    if made < 0 or {len(axes), len(ways)} != {count} or {len(out_axes), len(out_ways)} != {made}:
        raise KpuError("its axes or directions are not one for each tensor that it goes through")
    carried, sources = tensors[:states], tensors[states:]
    for source, axis in zip(sources, axes):
        if not -len(source.shape) <= axis < len(source.shape):
            raise KpuError(f"axis {axis} is outside the rank {len(source.shape)}")
    lengths = {source.shape[axis] for source, axis in zip(sources, axes)}
    if len(lengths) != 1:
        raise KpuError(f"it goes through dimensions of different extents: {sorted(lengths)}")
    (steps,) = lengths
    _check_steps(steps, body)
    names = [info.name for info in body.input]
    gathered: list[list[Tensor]] = [[] for _ in range(made)]
    for step in range(steps):
        parts = [
            _part(source, axis, steps - 1 - step if back else step)
            for source, axis, back in zip(sources, axes, ways)
        ]
        results = walker.inside(body, dict(zip(names, [*carried, *parts])))
        carried = results[:states]
        for kept, value in zip(gathered, results[states:]):
            kept.append(value)
    stacks: list[Tensor] = []
    for values, axis, back, info, name in zip(
        gathered, out_axes, out_ways, body.output[states:], node.output[states:]
    ):
        rank = len(values[0].shape) + 1 if values else 1
        ordered = values[::-1] if back else values
        stacks.append(_stacked(walker, ordered, axis + rank * (axis < 0), info, name))
    return [*carried, *stacks]


def _scan_of_batches(
    walker: Walker, node: NodeProto, inputs: Sequence[Tensor | None]
) -> list[Tensor]:
    """Scan of version 8: each item of a batch by itself, along the second dimension."""
    lengths, *tensors = inputs
    sources = [tensor for tensor in tensors if tensor is not None]
    if lengths is not None:
        raise KpuError("sequences of different lengths are not supported", hint="one batch each")
    items: list[list[Tensor]] = []
    for item in range(sources[0].shape[0] if sources and sources[0].shape else 0):
        items.append(scan(walker, node, [_part(source, 0, item) for source in sources]))
    if not items:
        raise KpuError("expected a batch of one item or more")
    return [
        _stacked(walker, [item[i] for item in items], 0, None, name)
        for i, name in enumerate(node.output)
    ]


def _check_steps(steps: int, body: GraphProto) -> None:
    """Refuse what would take too long to unroll."""
    if steps * max(1, len(body.node)) > MOST_STEPS:
        raise KpuError(
            f"{steps:,} steps of {len(body.node)} nodes are unrolled; at most {MOST_STEPS:,} nodes "
            "are supported",
            hint="fewer steps, or a shorter sequence",
        )


def _part(source: Tensor, axis: int, index: int) -> Tensor:
    """``source[.., index, ..]`` without its dimension."""
    if isinstance(source, np.ndarray):
        return np.take(source, index, axis)
    rank = len(source.shape)
    axis += rank * (axis < 0)
    graph = source.graph
    at = graph.constant(np.array([index], np.int64))  # data, so that each step has the same kernel
    shape = [n for a, n in enumerate(source.shape) if a != axis]
    return graph.reshape(graph.gather(source, at, axis), shape)


def _stacked(walker: Walker, values: Sequence[Tensor], axis: int, info: Any, name: str) -> Tensor:
    """Values one behind the other along a new dimension."""
    if not values:
        if info is None or not info.type.tensor_type.HasField("shape"):
            raise KpuError(f"{name!r} has no elements, and the model does not say of what shape")
        from onnx.helper import tensor_dtype_to_np_dtype

        shape = [extent(d, {}) or 0 for d in info.type.tensor_type.shape.dim]
        return np.zeros([0, *shape], tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if len(arrays) == len(values):
        return np.stack(arrays, axis)
    parts = [_value(walker, value, name) for value in values]
    graph = parts[0].graph
    shape = parts[0].shape
    apart = [graph.reshape(part, (*shape[:axis], 1, *shape[axis:])) for part in parts]
    return apart[0] if len(apart) == 1 else graph.concat(apart, axis)


CONTROL: dict[str, Control] = {"If": branch, "Loop": loop, "Scan": scan}
"""Operators with graphs of their own."""
