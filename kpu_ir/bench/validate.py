"""What others measured, beside what the model says: external memory's patterns, and accelerators that a
preset can express (docs/validation.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from xdsl.dialects.builtin import f32, i8, i16, i32

from kpu_ir.bench.measure import Setting
from kpu_ir.bench.table import Column, Table, change, share, whole
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.machine import Machine
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.sim.time.external import load
from kpu_ir.sim.time.runs import Runs

# -- external memory ------------------------------------------------------------------------------

MEASURED: dict[str, dict[int, float]] = {
    "random": {32: 0.37, 64: 0.62, 128: 0.61, 256: 0.61, 512: 0.81, 1024: 0.83, 2048: 0.88, 4096: 0.90},
    "4 KiB": {32: 0.67, 64: 0.91, 128: 0.89, 256: 0.91, 512: 0.92, 1024: 0.93},
    "16 KiB": {32: 0.37, 64: 0.67, 128: 0.64, 256: 0.59, 512: 0.86, 1024: 0.94, 2048: 0.94, 4096: 0.94},
    "64 KiB": {32: 0.37, 64: 0.64, 128: 0.64, 256: 0.64, 512: 0.85, 1024: 0.72, 2048: 0.82, 4096: 0.88},
    "sequential": {1 << 20: 0.94},
}  # fmt: skip
"""Share of one channel's 16 GB/s by stride and contiguous bytes: Ramulator 2.1, LPDDR5 timings in ns, XOR bank
hash, FR-FCFS of 32 entries, all-bank refresh."""

STRIDES = {"4 KiB": 4096, "16 KiB": 16384, "64 KiB": 65536}


def pattern(kind: str, size: int, count: int = 512) -> Runs:
    """Runs of ``size`` bytes at random places (multiples of a burst), or so far from each other."""
    if kind == "random":
        return Runs(8 * size, ((count, 8 * 32),), 0, 8 * 32, scattered=True)
    if kind == "sequential":
        return Runs(8 * size)
    return Runs(8 * size, ((count, 8 * STRIDES[kind]),), 0, 8 * STRIDES[kind])


def reached(runs: Runs, machine: Machine) -> float:
    """The share of one channel's rate, refreshes included, that the model gives."""
    memory, rate = machine.external, machine.dma.bytes_per_cycle
    left = 1 - memory.refresh_cycles / memory.refresh_interval if memory.refresh_interval else 1.0
    return left * runs.number * runs.bits / 8 / float(load(runs, memory, 1, rate).cycles) / rate


def memory_table(machine: Machine) -> Table:
    """Measured shares of a channel, and the model's."""
    rows: list[dict[str, Any]] = []
    for kind, sizes in MEASURED.items():
        for size, measured in sizes.items():
            found = reached(pattern(kind, size), machine)
            rows.append({
                "pattern": kind, "bytes": size, "measured": measured, "model": found,
                "off": 100 * (found - measured),
            })  # fmt: skip
    columns = (
        Column("pattern", "stride"), Column("bytes", "contiguous bytes", whole),
        Column("measured", "measured", lambda v: f"{v:.2f}"),
        Column("model", "model", lambda v: f"{v:.2f}"),
        Column("off", "points off", lambda v: f"{v:+.1f}"),
    )  # fmt: skip
    return Table(
        f"One channel of external memory on {machine.name}, share of its rate", columns, rows
    )


# -- accelerators ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """A convolution of ``channels`` x ``side`` x ``side`` by ``filters``, ``times`` of it in a network."""

    channels: int
    side: int
    filters: int
    window: int = 1
    stride: int = 1
    groups: int = 1
    times: int = 1
    pad: int | None = None

    @property
    def padding(self) -> int:
        """Zeros at each side."""
        return self.window // 2 if self.pad is None else self.pad

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image and one of these layers."""
        out = (self.side + 2 * self.padding - self.window) // self.stride + 1
        return out * out * self.filters * self.channels // self.groups * self.window**2


def _stage(channels: int, side: int, inner: int, stride: int, blocks: int) -> list[Layer]:
    """A stage of ResNet-50: bottleneck blocks, the first with a projection."""
    out, small = 4 * inner, side // stride
    return [
        Layer(channels, side, inner), Layer(inner, side, inner, 3, stride), Layer(channels, side, out, 1, stride),
        Layer(inner, small, out, times=blocks), Layer(out, small, inner, times=blocks - 1),
        Layer(inner, small, inner, 3, times=blocks - 1),
    ]  # fmt: skip


RESNET50 = [
    Layer(3, 224, 64, 7, 2), *_stage(64, 56, 64, 1, 3), *_stage(256, 56, 128, 2, 4),
    *_stage(512, 28, 256, 2, 6), *_stage(1024, 14, 512, 2, 3), Layer(2048, 1, 1000),
]  # fmt: skip
ALEXNET = [
    Layer(3, 227, 96, 11, 4, pad=0), Layer(96, 27, 256, 5, groups=2), Layer(256, 13, 384, 3),
    Layer(384, 13, 384, 3, groups=2), Layer(384, 13, 256, 3, groups=2),
]  # fmt: skip
VGG16 = [
    Layer(3, 224, 64, 3), Layer(64, 224, 64, 3), Layer(64, 112, 128, 3), Layer(128, 112, 128, 3),
    Layer(128, 56, 256, 3), Layer(256, 56, 256, 3, times=2), Layer(256, 28, 512, 3),
    Layer(512, 28, 512, 3, times=2), Layer(512, 14, 512, 3, times=3),
]  # fmt: skip


@dataclass(frozen=True)
class Published:
    """What was published of a machine that a preset expresses: cycles of ``images`` images."""

    preset: str
    network: str
    layers: Sequence[Layer]
    kind: str
    images: int
    cycles: float
    source: str


def _at(layers: Sequence[Layer], images: int, utilization: float, peak: int) -> float:
    return images * sum(layer.times * layer.macs for layer in layers) / peak / utilization


PUBLISHED = (
    Published("gemmini", "ResNet-50", RESNET50, "i8", 4, _at(RESNET50, 4, 0.51, 256),
              "ucb-bar/gemmini#90: 51 % utilization, whole network, FireSim"),
    Published("gemmini", "ResNet-50, one month before", RESNET50, "i8", 4, 153_709_356,
              "ucb-bar/gemmini#69: 153,709,356 cycles, 40 %, whole network"),
    Published("eyeriss", "AlexNet, convolutions", ALEXNET, "i16", 4, 4 / 35 * 2e8,
              "JSSC 2017, abstract: 35 frames/s, batch 4, 200 MHz, the chip"),
    Published("eyeriss", "VGG-16, convolutions", VGG16, "i16", 3, 3 / 0.7 * 2e8,
              "JSSC 2017, abstract: 0.7 frames/s, batch 3, 200 MHz, the chip"),
)  # fmt: skip


def layer_graph(layer: Layer, kind: str, images: int) -> Graph:
    """The layer in integers; its result is scaled, rounded and saturated to i8, or cut to i16."""
    g, pad = Graph(), (layer.padding,) * 2
    x = g.input("x", (images, layer.channels, layer.side, layer.side), kind)
    shape = (layer.filters, layer.channels // layer.groups, layer.window, layer.window)
    y = g.conv(x, g.input("w", shape, kind), strides=(layer.stride,) * 2, low=pad, high=pad,
               groups=layer.groups, element_type=i32)  # fmt: skip
    g.output("y", g.map(_scaled if kind == "i8" else lambda v: v.to(i16), y))
    return g


def _scaled(v: Scalar) -> Scalar:
    rounded = formulas.round_half_even(v.to(f32) * 0.001)
    return formulas.clip(rounded, -128.0, 127.0).to(i32).to(i8)


def published_table(setting: Setting, cases: Sequence[Published] = PUBLISHED) -> Table:
    """Published cycles of accelerators, and the model's: layer by layer, one after the other."""
    rows: list[dict[str, Any]] = []
    known: dict[tuple[str, Layer, int], int] = {}
    for case in cases:
        machine, cycles, macs = Machine.preset(case.preset), 0, 0
        for layer in case.layers:
            key = case.preset, replace(layer, times=1), case.images
            if key not in known:
                setting.say(f"{case.preset} {layer}")
                graph = layer_graph(layer, case.kind, case.images)
                known[key] = replace(setting, machine=machine).compile(graph.module()).cycles
            cycles += layer.times * known[key]
            macs += case.images * layer.times * layer.macs
        peak = machine.peak_macs(case.kind)
        rows.append({
            "machine": case.preset, "network": case.network, "images": case.images,
            "published": round(case.cycles), "model": cycles,
            "published_utilization": macs / peak / case.cycles, "utilization": macs / peak / cycles,
            "error": cycles / case.cycles - 1, "source": case.source,
        })  # fmt: skip
    columns = (
        Column("machine", "preset"), Column("network", "network"), Column("images", "images", whole),
        Column("published", "published cycles", whole), Column("model", "model", whole),
        Column("error", "error", change), Column("published_utilization", "utilization", share),
        Column("utilization", "model", share), Column("source", "source"),
    )  # fmt: skip
    note = (
        "Cycles of the model are those of the convolutions, one after the other; what was published of whole "
        "networks has their additions, pools and the processor's work as well."
    )
    return Table("Published accelerators", columns, rows, (note,))
