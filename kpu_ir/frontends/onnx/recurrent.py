"""ONNX's recurrent layers, step by step: LSTM, GRU, RNN.

The products with the inputs are one over all steps; each step then has its product with the state
before. Steps differ in an index only, so that their kernels are the same and compiled once.
Of short floats only what the products multiply is short: sums, gates and cells are f32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kpu_ir.dialects.kernel import shape_text
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import dtype_of

MOST_STEPS = 1024
"""A longer sequence is refused: each step is some kernels of its own."""

Formula = Callable[[Scalar], Scalar]
ACTIVATIONS: dict[str, Formula] = {
    "sigmoid": formulas.sigmoid,
    "tanh": formulas.tanh,
    "relu": formulas.relu,
}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
TURNED = "DynamicQuantize"
"""Before a layer's name: bytes, its weights W and R stored the other way round (``recurrent_quantized``)."""
USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def kind_of(node: Node) -> str:
    """``LSTM``, ``GRU`` or ``RNN``."""
    return node.proto.op_type.removeprefix(TURNED)


def hidden_of(node: Node) -> int:
    """How many numbers a state has."""
    return node.shape(2)[1 if node.proto.op_type.startswith(TURNED) else 2]


def activations(node: Node, directions: int) -> list[list[Formula]]:
    """The formulas of each direction."""
    usual = USUAL[kind_of(node)]
    given = node.attributes.get("activations") or [name.encode() for name in usual * directions]
    names = [name.decode().lower() for name in given]
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown or len(names) != len(usual) * directions:
        raise KpuError(
            f"activations {', '.join(names)} are not supported",
            hint=f"{len(usual) * directions} of {', '.join(ACTIVATIONS)}",
        )
    found = [ACTIVATIONS[name] for name in names]
    return [found[d * len(usual) :][: len(usual)] for d in range(directions)]


class Layer:
    """One direction of a layer: its weights, and its products gate by gate."""

    def __init__(self, node: Node, x: Value, d: int, formulas: Sequence[Formula]) -> None:
        """``x``: steps x batch x inputs; ``d``: which direction."""
        self.node, self.graph, self.d = node, node.graph, d
        self.kind = kind_of(node)
        self.gates = GATES[self.kind]
        self.steps, self.batch, _ = x.shape
        self.element, self.wide = x.element_type, working_type(x.element_type)
        self.hidden = hidden_of(node)
        self.formulas = formulas
        self.reset_late = bool(node.integer("linear_before_reset", 0))
        self.clip = node.number("clip", 0.0)
        self.bias, self.late_bias = self.biases()
        rows = self.graph.reshape(x, (self.steps * self.batch, x.shape[2]))
        z = self.inputs(rows)
        self.z = self.graph.reshape(z, (self.steps, self.batch, self.gates * self.hidden))
        peepholes = None
        if self.kind == "LSTM" and node.has(7):
            peepholes = self.graph.cast(self.part(7), self.wide)
        self.peepholes = [] if peepholes is None else [self.row(peepholes, g) for g in range(3)]

    def inputs(self, rows: Value) -> Value:
        """What the inputs give to each gate, (steps, batch) x (gates, hidden); reads R too."""
        self.r = self.graph.transpose(self.part(2), (1, 0))
        if self.kind == "GRU" and not self.reset_late:
            # Its last gate sees the state only after the second one has been at it.
            self.r, self.late_r = self.gate(self.r, 0, 2), self.gate(self.r, 2)
        z = self.graph.matmul(rows, self.part(1), transpose_b=True, dtype=self.wide)
        return z if self.bias is None else z + self.bias

    def part(self, i: int) -> Value:
        """This direction's share of input ``i``."""
        known = self.node.known(i)
        if known is not None:
            return self.graph.constant(np.ascontiguousarray(known[self.d]))
        return self.at(self.node.value(i), self.d)

    def at(self, x: Value, i: int) -> Value:
        """``x[i]``, the index being data: every step has the same kernel."""
        index = self.graph.constant(np.array([i], np.int64))
        return self.graph.reshape(self.graph.gather(x, index, 0), x.shape[1:])

    def row(self, x: Value, g: int) -> Value:
        """Elements of gate ``g`` of a vector, 1 x hidden."""
        part = self.graph.slice(x, [g * self.hidden], [1], [self.hidden])
        return self.graph.reshape(part, (1, self.hidden))

    def gate(self, x: Value, g: int, count: int = 1) -> Value:
        """Gate ``g`` (and the next ones, ``count`` of them) of something x (gates, hidden)."""
        shape = (x.shape[0], count * self.hidden)
        return self.graph.slice(x, [0, g * self.hidden], [1, 1], shape)

    def biases(self) -> tuple[Value | None, Value | None]:
        """What is added to the products with the inputs, 1 x (gates, hidden); and what a GRU that
        resets late adds to the state's product of its last gate."""
        if not self.node.has(3):
            return None, None
        both = self.graph.cast(self.part(3), self.wide)
        both = self.graph.reshape(both, (2, 1, self.gates * self.hidden))
        w, r = self.at(both, 0), self.at(both, 1)
        if not self.reset_late or self.kind != "GRU":
            return w + r, None
        seen = np.repeat([1, 1, 0], self.hidden).reshape(1, -1).astype(r.dtype)
        return w + r * self.graph.constant(seen), self.gate(r, 2)

    def start(self, i: int) -> Value:
        """The state before the first step: input ``i``, or zeros."""
        if self.node.has(i):
            value = self.node.value(i)
            if self.node.integer("layout", 0):
                value = self.graph.transpose(value, (1, 0, 2))
            return self.at(value, self.d)
        zeros = np.zeros((self.batch, self.hidden), dtype_of(self.element))
        return self.graph.constant(zeros)

    def product(self, h: Value, weights: Value) -> Value:
        """With the state, in f32 at least."""
        return self.graph.matmul(h, weights, dtype=self.wide)

    def sums(self, h: Value, t: int) -> Value:
        """What the inputs and the state give to each gate: batch x (gates, hidden)."""
        return self.product(h, self.r) + self.at(self.z, t)

    def clipped(self, x: Scalar) -> Scalar:
        """Within ``clip``, if there is one."""
        return formulas.clip(x, -self.clip, self.clip) if self.clip else x

    def step(self, h: Value, c: Value | None, t: int) -> tuple[Value, Value | None]:
        """The state after step ``t``."""
        match self.kind:
            case "LSTM":
                assert c is not None
                return self.lstm(h, c, t)
            case "GRU":
                return self.gru(h, t), None
            case _:
                (f,) = self.formulas
                y = self.graph.map(lambda s: f(self.clipped(s)).to(self.element), self.sums(h, t))
                return y, None

    def lstm(self, h: Value, c: Value, t: int) -> tuple[Value, Value]:
        """Gates in ONNX's order: input, output, forget, cell."""
        f, g, out = self.formulas
        sums = self.sums(h, t)
        i, o, forget, cell = (self.gate(sums, n) for n in range(4))
        if self.peepholes:
            i, forget = i + self.peepholes[0] * c, forget + self.peepholes[2] * c
        coupled = bool(self.node.integer("input_forget", 0))

        def remember(i: Scalar, forget: Scalar, cell: Scalar, c: Scalar) -> Scalar:
            open = f(self.clipped(i))
            kept = 1.0 - open if coupled else f(self.clipped(forget))
            return kept * c + open * g(self.clipped(cell))

        new = self.graph.map(remember, i, forget, cell, c)
        if self.peepholes:
            o = o + self.peepholes[1] * new
        shown = self.graph.map(lambda o, c: (f(self.clipped(o)) * out(c)).to(self.element), o, new)
        return shown, new

    def gru(self, h: Value, t: int) -> Value:
        """Gates in ONNX's order: update, reset, hidden."""
        f, g = self.formulas
        if self.reset_late:
            product, inputs = self.product(h, self.r), self.at(self.z, t)
            parts = [self.gate(v, n) for v in (product, inputs) for n in range(3)]
            late = self.late_bias
            if late is None:
                late = self.graph.constant(np.zeros((1, self.hidden), dtype_of(self.wide)))

            def whole(
                uz: Scalar, ur: Scalar, uh: Scalar, z: Scalar, r: Scalar, x: Scalar, b: Scalar,
                h: Scalar,
            ) -> Scalar:  # fmt: skip
                update, reset = f(self.clipped(uz + z)), f(self.clipped(ur + r))
                new = g(self.clipped(x + reset * (uh + b)))
                return ((1.0 - update) * new + update * h.to(self.wide)).to(self.element)

            return self.graph.map(whole, *parts, late, h)
        given = self.at(self.z, t)
        sums = self.product(h, self.r) + self.gate(given, 0, 2)
        update, reset, inputs = self.gate(sums, 0), self.gate(sums, 1), self.gate(given, 2)
        held = self.graph.map(
            lambda r, h: (f(self.clipped(r)) * h.to(self.wide)).to(self.element), reset, h
        )
        product = self.product(held, self.late_r)
        return self.graph.map(
            lambda u, p, x, h: (
                (1.0 - f(self.clipped(u))) * g(self.clipped(p + x))
                + f(self.clipped(u)) * h.to(self.wide)
            ).to(self.element),
            update,
            product,
            inputs,
            h,
        )


def check_shapes(node: Node, directions: int, batch: int, size: int) -> None:
    """Raise ``KpuError`` for weights and first states that do not fit the input, or each other: ONNX's
    shape inference looks at none of them."""
    if len(node.shape(2)) != 3:
        raise KpuError(f"input 2 (R) has {len(node.shape(2))} dimensions, expected 3")
    hidden = hidden_of(node)
    rows = GATES[kind_of(node)] * hidden
    state = (directions, batch, hidden)
    if node.integer("layout", 0):
        state = (batch, directions, hidden)

    def weights(size: int) -> tuple[int, ...]:
        turned = node.proto.op_type.startswith(TURNED)
        return (directions, size, rows) if turned else (directions, rows, size)

    expected = {
        1: ("W", weights(size)), 2: ("R", weights(hidden)),
        3: ("B", (directions, 2 * rows)), 5: ("initial_h", state), 6: ("initial_c", state),
        7: ("P", (directions, 3 * hidden)),
    }  # fmt: skip
    for i, (name, shape) in expected.items():
        if node.has(i) and tuple(node.shape(i)) != shape:
            raise KpuError(
                f"input {i} ({name}): expected {shape_text(shape)}, got {shape_text(node.shape(i))}"
            )


@operator("LSTM", "GRU", "RNN")
def recurrent(node: Node) -> list[Tensor]:
    """All steps of all directions, unrolled."""
    return unrolled(node, Layer)


Make = Callable[[Node, Value, int, Sequence[Formula]], Layer]


def unrolled(node: Node, make: Make) -> list[Tensor]:
    """The states after each step, the last one, and an LSTM's last cells. ``make``: one direction."""
    graph, kind = node.graph, kind_of(node)
    batch_first = bool(node.integer("layout", 0))
    x = node.value(0)
    x = graph.transpose(x, (1, 0, 2)) if batch_first else x
    steps, batch, _ = x.shape
    if steps > MOST_STEPS:
        raise KpuError(
            f"{steps} steps are unrolled, at most {MOST_STEPS} are supported",
            hint="a shorter sequence",
        )
    if node.has(4) and np.any(node.must_be_known(4, "sequence_lens") != steps):
        raise KpuError("sequences of different lengths are not supported", hint="one batch each")
    way = node.text("direction", "forward")
    directions = 2 if way == "bidirectional" else 1
    check_shapes(node, directions, batch, x.shape[2])
    formulas_of = activations(node, directions)
    seen: list[list[Value]] = []
    last: list[Value] = []
    cells: list[Value] = []
    for d in range(directions):
        layer = make(node, x, d, formulas_of[d])
        h = layer.start(5)
        c = graph.cast(layer.start(6), layer.wide) if kind == "LSTM" else None
        back = way == "reverse" or d == 1
        states: list[Value] = []
        for t in range(steps - 1, -1, -1) if back else range(steps):
            h, c = layer.step(h, c, t)
            states.append(h)
        seen.append(states[::-1] if back else states)
        last.append(h)
        cells += [graph.cast(c, layer.element)] if c is not None else []
    hidden = hidden_of(node)

    def joined(values: Sequence[Value], shape: Sequence[int]) -> Value:
        parts = [graph.reshape(v, (1, batch, hidden)) for v in values]
        return graph.reshape(graph.concat(parts, 0) if len(parts) > 1 else parts[0], shape)

    y = joined([s[t] for t in range(steps) for s in seen], (steps, directions, batch, hidden))
    ends = [joined(v, (directions, batch, hidden)) for v in (last, cells) if v]
    if batch_first:
        y = graph.transpose(y, (2, 0, 1, 3))
        ends = [graph.transpose(v, (1, 0, 2)) for v in ends]
    return [y, *ends]
