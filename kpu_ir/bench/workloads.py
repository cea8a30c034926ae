"""What is measured: canonical workloads, and how one of them is compiled with given schedules."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.frontends.read import read
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule, schedule_record
from kpu_ir.machine import Machine
from kpu_ir.passes.kernel_canonicalize import KernelCanonicalizePass
from kpu_ir.passes.kernel_fusion_candidates import KernelFusionCandidatesPass
from kpu_ir.pipeline import kernel_stages, lower
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.options import Options
from kpu_ir.registry import context
from kpu_ir.sim.program.program import Program, load_program
from kpu_ir.support.errors import KpuError
from kpu_ir.support.package import ROOT as PACKAGE
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.objective import Effort, Objective
from kpu_ir.tuning.search import Search

ROOT = PACKAGE.parent
"""The folder of the checkout, where there is one."""

IN_CHECKOUT = (ROOT / "pyproject.toml").is_file()
"""Whether this is one, and no installed package: other packages may have left a ``docs`` there."""

DATA = Path(__file__).parent / "data"
"""What the package has with it: a trained network and the baselines."""


# -- products -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """A product of ``m`` x ``k`` by ``k`` x ``n``."""

    m: int
    n: int
    k: int

    @staticmethod
    def parse(text: str) -> Shape:
        """``1024`` or ``MxNxK``. Raises ``KpuError`` for anything else."""
        if re.fullmatch(r"\d+(x\d+x\d+)?", text):
            extents = [int(n) for n in text.split("x")]
            if min(extents) > 0:
                return Shape(*(extents * 3 if len(extents) == 1 else extents))
        raise KpuError(f"'{text}' is not a product", hint="write N or MxNxK, as 127x513x1025")

    def __str__(self) -> str:
        return str(self.m) if self.m == self.n == self.k else f"{self.m}x{self.n}x{self.k}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.m * self.n * self.k

    @property
    def words(self) -> int:
        """Elements of the operands and the result."""
        return self.m * self.k + self.k * self.n + self.m * self.n

    def padded_macs(self, machine: Machine) -> int:
        """The array's work with idle rows and columns counted, in the dataflow that idles least."""
        rows, columns = machine.fabric.rows, machine.fabric.columns

        def up(extent: int, edge: int) -> int:
            return -(-extent // edge) * edge

        return min(
            up(self.m, rows) * up(self.n, columns) * self.k,
            up(self.k, rows) * up(self.n, columns) * self.m,
            up(self.k, rows) * up(self.m, columns) * self.n,
        )

    def roofline(self, machine: Machine) -> float:
        """Cycles that no schedule goes below: padded work at peak, or each f32 word moved once."""
        compute = self.padded_macs(machine) / machine.peak_macs()
        return max(compute, 4 * self.words / machine.bandwidth["dma"])


def matmul(shape: Shape, formula: Callable[[Value], Value] | None = None) -> ModuleOp:
    """A product, and what is done with it."""
    g = Graph()
    y = g.input("a", (shape.m, shape.k)) @ g.input("b", (shape.k, shape.n))
    g.output("y", formula(y) if formula else y)
    return g.module()


def with_bias(shape: Shape, formula: Callable[[Value], Value] = lambda y: y) -> ModuleOp:
    """A product, a bias for each column, and an activation."""
    g = Graph()
    y = g.input("a", (shape.m, shape.k)) @ g.input("b", (shape.k, shape.n))
    g.output("y", formula(y + g.input("bias", (shape.n,))))
    return g.module()


def batched(batch: int, shape: Shape) -> ModuleOp:
    """As many products."""
    g = Graph()
    a, b = g.input("a", (batch, shape.m, shape.k)), g.input("b", (batch, shape.k, shape.n))
    g.output("y", a @ b)
    return g.module()


def chain(
    widths: Sequence[int],
    rows: int,
    last: Callable[[Value], Value],
    formula: Callable[[Value], Value],
) -> ModuleOp:
    """Layers of weights, biases and ``formula``; ``last`` follows the last one."""
    g = Graph()
    x = g.input("x", (rows, widths[0]))
    for i, (k, n) in enumerate(pairwise(widths), 1):
        x = x @ g.input(f"w{i}", (k, n)) + g.input(f"b{i}", (n,))
        x = last(x) if i == len(widths) - 1 else formula(x)
    g.output("y", x)
    return g.module()


def add(elements: int) -> ModuleOp:
    """An elementwise sum of two tensors."""
    g = Graph()
    g.output("y", g.input("a", (elements,)) + g.input("b", (elements,)))
    return g.module()


def transposition(rows: int, columns: int) -> ModuleOp:
    """A matrix, transposed."""
    g = Graph()
    g.output("y", g.transpose(g.input("a", (rows, columns))))
    return g.module()


def conv(channels: int, out: int, side: int, kernel: int, stride: int, groups: int = 1) -> ModuleOp:
    """A convolution of a square image, padded to keep its extents over the stride."""
    g = Graph()
    x = g.input("x", (1, channels, side, side))
    w = g.input("w", (out, channels // groups, kernel, kernel))
    around = (kernel // 2, kernel // 2)
    y = g.conv(x, w, strides=(stride, stride), low=around, high=around, groups=groups)
    g.output("y", y)
    return g.module()


def layer(shape: Sequence[int], make: Callable[[Graph, Value], Value]) -> ModuleOp:
    """One layer on one input."""
    g = Graph()
    g.output("y", make(g, g.input("x", tuple(shape))))
    return g.module()


def grouped(module: ModuleOp) -> ModuleOp:
    """The module with what could stay on chip in one kernel, whether that pays or not."""
    for stage in (KernelCanonicalizePass(), KernelFusionCandidatesPass()):
        stage.apply(context(), module)
    return module


def attention(heads: int, length: int, depth: int) -> ModuleOp:
    """Scaled dot-product attention, in one kernel."""
    g = Graph()
    q, k, v = (g.input(name, (1, heads, length, depth)) for name in "qkv")
    g.output("y", g.attention(q, k, v))
    return grouped(g.module())


def attention_block(rows: int, width: int, heads: int) -> ModuleOp:
    """Projections, attention by parts, output projection: one operation an operator."""
    g = Graph()
    x, depth = g.input("x", (rows, width)), width // heads

    def projected(value: Value, name: str) -> Value:
        return value @ g.input(f"w{name}", (width, width)) + g.input(f"b{name}", (width,))

    q, k, v = (projected(x, n).reshape(rows, heads, depth).transpose(1, 0, 2) for n in "qkv")
    scores = (q @ k.transpose(0, 2, 1)) * depth**-0.5
    mixed = (scores.softmax(-1) @ v).transpose(1, 0, 2).reshape(rows, width)
    g.output("y", projected(mixed, "o"))
    return g.module()


def projections(rows: int, width: int) -> ModuleOp:
    """Queries, keys and values of one input."""
    g = Graph()
    x = g.input("x", (rows, width))
    for name in "qkv":
        g.output(name, x @ g.input(f"w{name}", (width, width)) + g.input(f"b{name}", (width,)))
    return grouped(g.module())


def embedding(rows: int, width: int, count: int) -> ModuleOp:
    """Rows of a table by index."""
    g = Graph()
    table, ids = g.input("table", (rows, width)), g.input("ids", (count,), "i64")
    g.output("y", g.gather(table, ids))
    return g.module()


def quantized_matmul(shape: Shape) -> ModuleOp:
    """A product of bytes, requantized."""
    g = Graph()
    a = g.dequantize(g.input("a", (shape.m, shape.k), "i8"), 0.02)
    b = g.dequantize(g.input("b", (shape.k, shape.n), "i8"), 0.01)
    g.output("y", g.quantize(a @ b, 0.5))
    return g.module()


def quantized_conv(channels: int, out: int, side: int, groups: int = 1) -> ModuleOp:
    """A 3 x 3 convolution of unsigned bytes by signed ones, requantized."""
    g = Graph()
    x = g.dequantize(g.input("x", (1, channels, side, side), "ui8"), 0.02)
    w = g.dequantize(g.input("w", (out, channels // groups, 3, 3), "i8"), 0.01)
    y = g.conv(x, w, low=(1, 1), high=(1, 1), groups=groups)
    g.output("y", g.quantize(y, 0.5, dtype="ui8"))
    return g.module()


def packed_weights(shape: Shape) -> ModuleOp:
    """A product of f16 by weights of 4 bits that have a scale a column."""
    g = Graph()
    w = g.dequantize(g.input("w", (shape.k, shape.n), "i4"), g.input("s", (1, shape.n), "f16"))
    g.output("y", g.input("x", (shape.m, shape.k), "f16") @ w)
    return g.module()


def digits() -> ModuleOp:
    """The trained network of examples/."""
    return read(DATA / "digits_mlp.onnx", {})


def same(value: Value) -> Value:
    """Nothing is done."""
    return value


WORKLOADS: Mapping[str, Callable[[], ModuleOp]] = {
    **{
        f"matmul {text}": lambda shape=Shape.parse(text): matmul(shape)
        for text in (
            "64", "256", "1024", "4096", "1000", "127x513x1025", "17x4096x33", "1x4096x4096",
        )
    },
    "batched matmul 12x128x128x64": lambda: batched(12, Shape(128, 128, 64)),
    "add 1M": lambda: add(1 << 20),
    "transpose 1024x1024": lambda: transposition(1024, 1024),
    "GPT-2 FFN 128x768-3072-768": lambda: chain((768, 3072, 768), 128, same, Value.gelu),
    "MLP 64x784-512-256-10": lambda: chain((784, 512, 256, 10), 64, same, Value.relu),
    "digits MLP": digits,
    "conv 64x64x56x56 3x3": lambda: conv(64, 64, 56, 3, 1),
    "conv 512x512x7x7 3x3": lambda: conv(512, 512, 7, 3, 1),
    "depthwise 144x56x56 3x3": lambda: conv(144, 144, 56, 3, 1, 144),
    "max pool 64x112x112": lambda: layer(
        (1, 64, 112, 112),
        lambda g, x: g.pool("max", x, (3, 3), strides=(2, 2), low=(1, 1), high=(1, 1)),
    ),
    "softmax 4096x1024": lambda: layer((4096, 1024), lambda g, x: g.softmax(x)),
    "layer norm 4096x1024": lambda: layer((4096, 1024), lambda g, x: g.normalize(x, [1])),
    "sum 4096x1024": lambda: layer((4096, 1024), lambda g, x: g.reduce("add", x, [1])),
    "attention 12x512x64": lambda: attention(12, 512, 64),
    "products back to back 128x64-256-64": lambda: grouped(chain((64, 256, 64), 128, same, Value.relu)),
    "projections 512x768 of one input": lambda: projections(512, 768),
    "embedding 1000x768 128": lambda: embedding(1000, 768, 128),
    "i8 matmul 1024": lambda: quantized_matmul(Shape.parse("1024")),
    "i8 conv 64x64x56x56 3x3": lambda: quantized_conv(64, 64, 56),
    "i8 depthwise 144x56x56 3x3": lambda: quantized_conv(144, 144, 56, 144),
    "i4 weights, f16, 1x4096x4096": lambda: packed_weights(Shape.parse("1x4096x4096")),
}  # fmt: skip
"""The canonical workloads by name (MxNxK of a product)."""


# -- compiling ------------------------------------------------------------------------------------


def outlined(module: ModuleOp) -> ModuleOp:
    """The module with a function a kernel, as the driver makes it."""
    module = module.clone()
    ctx = context()
    for stage in kernel_stages("epilogue"):
        stage.apply(ctx, module)
    return module


def kernels(module: ModuleOp) -> dict[str, FuncOp]:
    """The kernels of an outlined module by name."""
    funcs = [op for op in module.ops if isinstance(op, FuncOp)]
    return {f.sym_name.data: f for f in funcs if f.sym_name.data != "main"}


def search_afresh(
    module: ModuleOp, machine: Machine, objective: Objective = "cycles", effort: Effort = "quick"
) -> dict[str, Schedule]:
    """A schedule for each kernel of an outlined module, whatever any cache has."""
    search = Search(machine, objective, effort, Cache(Path()))
    with collected_later():
        return {name: search.search(f, recognise(f)) for name, f in kernels(module).items()}


@contextmanager
def collected_later() -> Generator[None]:
    """No garbage collection meanwhile."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def replay(module: ModuleOp, machine: Machine, schedules: Mapping[str, Schedule]) -> Program:
    """An outlined module with these schedules, as a program.

    Raises ``KpuError`` where they are not those of its kernels.
    """
    module = module.clone()
    found = kernels(module)
    if set(found) != set(schedules):
        raise KpuError(
            f"the kernels are {', '.join(found)}; schedules are given for {', '.join(schedules)}"
        )
    for name, func in found.items():
        func.attributes[ATTRIBUTE] = schedules[name].to_attr()
    return load_program(lower(module, machine, Options(search="none"))["dma"], machine)


def schedules_of(compiled: Compiled) -> dict[str, Schedule]:
    """The schedules that a program was compiled with, by kernel."""
    found = {name: schedule_record(f) for name, f in kernels(compiled.stages["dma"]).items()}
    return {name: schedule for name, schedule in found.items() if schedule is not None}


def in_words(s: Schedule) -> str:
    """``64x96x64 os nm, 3/3/2 defer 5``: what differs is told apart at a glance."""
    stays = "".join(f" {name}@{at}" for name, at in (("a", s.lhs), ("b", s.rhs)) if at)
    tile = "x".join(str(n) for n in s.tile)
    return (
        f"{tile} {s.dataflow} {s.order}{stays} {s.l3_depth}/{s.depth}/{s.out_depth} defer {s.defer}"
    )


def room_for(machine: Machine, bytes: int) -> tuple[Machine, str]:
    """The machine with as much external memory as that takes, and a note if it is more."""
    if bytes <= machine.external.bytes:
        return machine, ""
    power = 1 << (bytes - 1).bit_length()
    size = f"{power >> 30} GiB" if power >= 1 << 30 else f"{power} bytes"
    return machine.with_settings({"external.bytes": power}), f"external.bytes raised to {size}"
