"""A small decoder that generates tokens on the device: ``python examples/decode.py [llama|gpt2] [batch]``.

One step of the network is one ONNX model: a token and its position in, the next token out, and the keys and
values of this one. The caches stay on the device: each step's row is copied there, to its place. All
steps are captured as one graph. Tokens are compared with onnxruntime's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kpu_ir import runtime

SEED = 20261127


@dataclass(frozen=True)
class Decoder:
    """The sizes of a network; ``llama``: RMS norms, rotary positions, SwiGLU, grouped queries, else GPT-2."""

    llama: bool
    batch: int = 1
    tokens: int = 64
    vocabulary: int = 256
    hidden: int = 64
    inner: int = 128
    layers: int = 2
    heads: int = 4
    groups: int = 2

    @property
    def size(self) -> int:
        """Of one head."""
        return self.hidden // self.heads

    @property
    def room(self) -> int:
        """Rows of a cache."""
        return self.tokens

    @property
    def row(self) -> tuple[int, int, int]:
        """The shape of a row of a cache: a batch of heads' keys."""
        return self.batch, self.groups, self.size


@dataclass
class Nodes:
    """An ONNX graph that grows; each method adds a node and names its result."""

    config: Decoder
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    random: Any = field(default_factory=lambda: np.random.default_rng(SEED))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, *shape: int, scale: float | None = None) -> str:
        spread = scale or shape[0] ** -0.5
        return self.constant(self.random.normal(0, spread, shape).astype(np.float32))

    def shape(self, x: str, *extents: int) -> str:
        return self.op("Reshape", x, self.constant(np.array(extents, np.int64)))

    def number(self, value: float) -> str:
        return self.constant(np.float32(value))

    def linear(self, x: str, n: int, m: int, bias: bool = False) -> str:
        y = self.op("MatMul", x, self.weight(n, m))
        return self.op("Add", y, self.weight(m, scale=0.02)) if bias else y

    def norm(self, x: str) -> str:
        """RMS norm, or layer norm."""
        h = self.config.hidden
        scale = self.constant(self.random.uniform(0.5, 1.5, h).astype(np.float32))
        if not self.config.llama:
            bias = self.weight(h, scale=0.02)
            return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)
        mean = self.op(
            "ReduceMean", self.op("Mul", x, x), self.constant(np.array([-1])), keepdims=1
        )
        root = self.op("Sqrt", self.op("Add", mean, self.number(1e-5)))
        return self.op("Mul", self.op("Div", x, root), scale)

    def turned(self, x: str, cosine: str, sine: str, heads: int) -> str:
        """Rotary position of heads."""
        d = self.config.size
        matrix = np.zeros((d, d), np.float32)  # (a, b) to (-b, a), halves of a head
        matrix[d // 2 :, : d // 2] = -np.eye(d // 2)
        matrix[: d // 2, d // 2 :] = np.eye(d // 2)
        across = self.op("MatMul", x, self.constant(matrix))
        return self.op("Add", self.op("Mul", x, cosine), self.op("Mul", across, sine))

    def attention(self, x: str, keys: str, values: str, angles: Sequence[str], mask: str) -> Any:
        """Of one token with all before it, and with itself; its key and value too."""
        c = self.config
        b, g, d, each = c.batch, c.groups, c.size, c.heads // c.groups
        q = self.shape(self.linear(x, c.hidden, c.hidden, not c.llama), b, c.heads, d)
        k = self.shape(self.linear(x, c.hidden, g * d, not c.llama), b, g, d)
        v = self.shape(self.linear(x, c.hidden, g * d, not c.llama), b, g, d)
        if c.llama:
            q, k = self.turned(q, *angles, c.heads), self.turned(k, *angles, g)
        q = self.op("Mul", self.shape(q, b, g, each, d), self.number(d**-0.5))
        old = self.op("Transpose", keys, perm=[1, 2, 3, 0])  # batch, group, size, row
        before = self.op("Add", self.op("MatMul", q, old), mask)
        itself = self.op("MatMul", q, self.shape(k, b, g, d, 1))
        p = self.op("Softmax", self.op("Concat", before, itself, axis=3), axis=3)
        first, last, end, axis = (np.array([n]) for n in (0, c.room, c.room + 1, 3))
        then = self.op("Slice", p, *map(self.constant, (first, last, axis)))
        now = self.op("Slice", p, *map(self.constant, (last, end, axis)))
        past = self.op("MatMul", then, self.op("Transpose", values, perm=[1, 2, 0, 3]))
        sum_ = self.op("Add", past, self.op("MatMul", now, self.shape(v, b, g, 1, d)))
        y = self.linear(self.shape(sum_, b, c.hidden), c.hidden, c.hidden, not c.llama)
        return y, k, v

    def feed_forward(self, x: str) -> str:
        c = self.config
        if c.llama:
            gate = self.linear(x, c.hidden, c.inner)
            gate = self.op("Mul", gate, self.op("Sigmoid", gate))
            return self.linear(
                self.op("Mul", gate, self.linear(x, c.hidden, c.inner)), c.inner, c.hidden
            )
        inner = self.op("Gelu", self.linear(x, c.hidden, c.inner, True), approximate="tanh")
        return self.linear(inner, c.inner, c.hidden, True)


def step_model(config: Decoder) -> onnx.ModelProto:
    """One step: ``token`` (batch), ``position`` (1) and the caches in; ``next`` and new rows out."""
    n, c = Nodes(config), config
    table = n.weight(c.vocabulary, c.hidden, scale=1.0)
    x = n.op("Gather", table, "token", axis=0)
    angles: list[str] = []
    if c.llama:
        rates = 10_000.0 ** (-np.arange(c.size // 2) / (c.size // 2))
        turns = np.outer(np.arange(c.room), np.concatenate([rates, rates]))
        angles = [
            n.op("Gather", n.constant(f(turns).astype(np.float32)), "position", axis=0)
            for f in (np.cos, np.sin)
        ]
    else:
        places = n.weight(c.room, c.hidden, scale=0.3)
        x = n.op("Add", x, n.op("Gather", places, "position", axis=0))
    rows = n.constant(np.arange(c.room))
    mask = n.op("Where", n.op("Less", rows, "position"), n.number(0), n.number(-1e9))
    made: list[str] = []
    for layer in range(c.layers):
        y, k, v = n.attention(n.norm(x), f"k{layer}", f"v{layer}", angles, mask)
        made += [k, v]
        x = n.op("Add", x, y)
        x = n.op("Add", x, n.feed_forward(n.norm(x)))
    logits = n.linear(n.norm(x), c.hidden, c.vocabulary)
    token = n.op("ArgMax", logits, axis=1, keepdims=0)
    names = [f"{kind}{layer}" for layer in range(c.layers) for kind in "kv"]
    nodes = [helper.make_node("Identity", [token], ["next"], "next")]
    nodes += [helper.make_node("Identity", [a], [f"new_{b}"]) for a, b in zip(made, names)]
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    inputs = [("token", ints, (c.batch,)), ("position", ints, (1,))]
    inputs += [(name, floats, (c.room, *c.row)) for name in names]
    outputs = [("next", ints, (c.batch,)), *((f"new_{name}", floats, c.row) for name in names)]
    graph = helper.make_graph(
        [*n.nodes, *nodes],
        "step",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        n.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def by_onnxruntime(model: onnx.ModelProto, config: Decoder, start: Any) -> Any:
    """Tokens x batch, the caches in NumPy."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [i.name for i in session.get_inputs()][2:]
    caches = {name: np.zeros((config.room, *config.row), np.float32) for name in names}
    tokens = [np.asarray(start)]
    for position in range(config.tokens):
        feeds = {"token": tokens[-1], "position": np.array([position]), **caches}
        token, *rows = session.run(None, feeds)
        for name, row in zip(names, rows):
            caches[name][position] = row
        tokens.append(token)
    return np.array(tokens[1:])


@dataclass
class Generated:
    """What a run on the device gave: tokens x batch, and its figures."""

    tokens: Any
    cycles: int
    tokens_per_second: float
    joules_per_token: float
    to_device: int
    """Bytes over the host's link while it generated."""
    to_host: int
    cache_bytes: int


def on_device(
    path: str, config: Decoder, start: Any, machine: Any = "default", **options: Any
) -> Generated:
    """Capture all steps as a graph, launch it, and count. ``options``: as ``compile`` takes them."""
    device = runtime.Device(machine)
    stream = device.create_stream()
    compiled = device.compile(path, **options)
    program = device.load(compiled, stream=stream)
    names = [p.name for p in compiled.program.inputs][2:]
    caches = {n: device.empty((config.room, *config.row), stream=stream) for n in names}
    rows = {n: device.empty(config.row, stream=stream) for n in names}
    for cache in caches.values():
        cache.fill(0, stream=stream)
    positions = device.array(np.arange(config.tokens), stream=stream)
    tokens = device.empty((config.tokens + 1, config.batch), "int64", stream=stream)
    wide, deep = 8 * config.batch, 4 * int(np.prod(config.row))
    first = device.pinned((config.batch,), "int64")
    result = device.pinned((config.tokens, config.batch), "int64")

    builder = stream.create_graph_builder().begin_building()
    tokens.view("int64", (config.batch,)).copy_from(first, stream=builder)
    for i in range(config.tokens):
        runtime.launch(
            builder,
            program,
            token=tokens.view("int64", (config.batch,), i * wide),
            position=positions.view("int64", (1,), i * 8),
            next=tokens.view("int64", (config.batch,), (i + 1) * wide),
            **caches,
            **{f"new_{n}": rows[n] for n in names},
        )
        for n in names:
            caches[n].view("float32", config.row, i * deep).copy_from(rows[n], stream=builder)
    tokens.view("int64", result.shape, wide).copy_to(result, stream=builder)
    graph = builder.end_building().complete()

    np.asarray(first)[:] = start
    stream.sync()
    before, energy, began = device.counts, device.energy.total, stream.record()
    graph.launch(stream)
    ended = stream.record()
    ended.sync()
    after, count = device.counts, config.tokens * config.batch
    seconds = device.machine.seconds(ended.cycles - began.cycles)
    return Generated(
        np.array(result),
        ended.cycles - began.cycles,
        count / seconds,
        1e-12 * (device.energy.total - energy) / count,
        after["host.read"] - before["host.read"],
        after.get("host.write", 0) - before.get("host.write", 0),
        sum(c.nbytes for c in caches.values()),
    )


def main(kind: str = "llama", batch: str = "1") -> None:
    """Generate, compare, print."""
    if kind not in ("llama", "gpt2") or not batch.isdecimal() or not int(batch):
        raise SystemExit(
            f"decode.py: error: expected llama or gpt2 and a batch, got {kind} {batch}"
        )
    config = Decoder(kind == "llama", int(batch), groups=2 if kind == "llama" else 4)
    model, path = step_model(config), f"{kind}-step.onnx"
    onnx.save(model, path)
    start = np.arange(config.batch) + 1
    found = on_device(path, config, start, search="none")
    same = (found.tokens == by_onnxruntime(model, config, start)).all()
    print(
        f"{kind}, batch {config.batch}: {config.tokens} tokens each, "
        f"{'equal to' if same else 'DIFFERENT from'} onnxruntime's\n  {found.tokens[:, 0].tolist()}\n"
        f"  {found.cycles:,} cycles, {found.tokens_per_second:,.0f} tokens/s, "
        f"{1e6 * found.joules_per_token:,.1f} uJ a token\n  the host sent {found.to_device:,} bytes "
        f"and got {found.to_host:,}; the caches are {found.cache_bytes:,} bytes"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
