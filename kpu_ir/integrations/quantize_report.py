"""What quantizing a model costs and saves: noise by layer, and what the machine is predicted to need."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kpu_ir.integrations.quantize_model import (
    FLOATS_OF_STEPS,
    PRODUCTS,
    Settings,
    loaded,
    serialized,
)
from kpu_ir.integrations.quantize_moments import tensors_of
from kpu_ir.report.profile import plain_text
from kpu_ir.report.words import words
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto

MOST_ITEMS = 4
"""Items of calibration data that noise is measured on."""

NOISY_DB, SOUND_DB = 6.0, 30.0
"""A layer that takes more than the first from the signal-to-noise ratio of what it reads, and leaves less than
the second, is worth excluding."""


HIGHEST_DB = 60.0
"""A signal-to-noise ratio beyond which nobody looks: what is in floats has this one."""


@dataclass(frozen=True)
class LayerNoise:
    """A layer's result against the float model's: ``snr_db`` = 10 log10(sum x^2 / sum (x - y)^2), of all noise
    that reaches it; ``lost_db``: how much more than at the noisiest tensor that it reads."""

    layer: str
    operator: str
    quantized: bool
    snr_db: float
    lost_db: float


@dataclass(frozen=True)
class Needs:
    """What a model is predicted to need on a machine. ``bytes``: of external memory; ``joules``: energy."""

    cycles: int
    bytes: int
    joules: float


@dataclass(frozen=True)
class Report:
    """Noise by layer in the order of the model, and both models' needs. Prints itself."""

    layers: tuple[LayerNoise, ...]
    before: Needs
    after: Needs
    machine: str
    requantization: str
    kept: Mapping[str, str]

    @property
    def noisy(self) -> tuple[str, ...]:
        """Layers worth excluding, the noisiest first."""
        found = [
            r for r in self.layers if r.lost_db > NOISY_DB and r.snr_db < SOUND_DB
            and (r.quantized or self.kept.get(r.layer) == FLOATS_OF_STEPS)
        ]  # fmt: skip
        return tuple(r.layer for r in sorted(found, key=lambda r: -r.lost_db))

    def __rich__(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for name in ("layer", "operator", "in integers", "SNR dB", "lost dB"):
            table.add_column(name, justify="right" if "dB" in name else "left", overflow="fold")
        for r in self.layers:
            given = words(r.layer), r.operator, "yes" if r.quantized else "no"
            table.add_row(*given, f"{r.snr_db:.1f}", f"{r.lost_db:.1f}")
        needs = Table(box=None, padding=(0, 2), header_style="dim")
        for name in (self.machine, "floats", "quantized", "ratio"):
            needs.add_column(name, justify="left" if name == self.machine else "right")
        for name, a, b in (
            ("cycles", self.before.cycles, self.after.cycles),
            ("external bytes", self.before.bytes, self.after.bytes),
            ("energy, uJ", self.before.joules * 1e6, self.after.joules * 1e6),
        ):
            shown = [f"{n:,.3g}" if n < 1000 else f"{n:,.0f}" for n in (a, b)]
            needs.add_row(name, *shown, f"{a / b:.2f} x" if b else "-")
        more = [f"requantization: {self.requantization}"]
        more += [f"in floats: {words(name)} ({why})" for name, why in self.kept.items()]
        if self.noisy:
            more.append("worth excluding: " + str(words(", ".join(self.noisy[:5]))))
        return Group(table, Text(), needs, Text(), *(Text(line) for line in more))

    def __str__(self) -> str:
        return plain_text(self)

    __repr__ = __str__


def report(
    source: Path,
    model: ModelProto,
    layers: Sequence[str],
    kept: Mapping[str, str],
    calibration: Sequence[Mapping[str, Array]],
    settings: Settings,
    machine: Any,
    search: str,
) -> Report:
    """The report of a quantized model; its noise on the first items of what calibrated it, or drawn ones."""
    before = loaded(source)
    items = list(calibration[:MOST_ITEMS]) or [_drawn(before)]
    rows = noise(before, model, layers, items)
    with tempfile.TemporaryDirectory(prefix="kpu-quantize.") as folder:
        path = Path(folder, source.name)
        path.write_bytes(serialized(model))
        shapes = {name: array.shape for name, array in items[0].items()}
        needs = [_needs(p, shapes, before, machine, search) for p in (source, path)]
    (first, name), (second, _) = needs
    return Report(rows, first, second, name, settings.requantization, kept)


def _needs(
    path: Path, shapes: Mapping[str, Sequence[int]], model: ModelProto, machine: Any, search: str
) -> tuple[Needs, str]:
    from kpu_ir.pipeline import load

    open_ = {
        i.name
        for i in model.graph.input
        if any(not d.HasField("dim_value") for d in i.type.tensor_type.shape.dim)
    }
    given = {name: shape for name, shape in shapes.items() if name in open_}
    compiled = load(path, machine, shapes=given or None, search=search)
    summary = compiled.summary()
    moved = sum(summary.bytes["external"].values())
    return Needs(summary.cycles, moved, sum(summary.energy_pj.values()) * 1e-12), summary.machine


def _drawn(model: ModelProto) -> dict[str, Array]:
    """Inputs for a model whose data nobody gave: open dimensions are 1."""
    from xdsl.dialects.builtin import TensorType

    from kpu_ir.frontends.onnx.declared import dtype_of_input
    from kpu_ir.interpreters.arguments import drawn
    from kpu_ir.support.types import element_type_of

    weights = {t.name for t in model.graph.initializer}
    ports: list[tuple[str, TensorType[Any]]] = []
    for info in model.graph.input:
        if info.name not in weights:
            dims = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
            ports.append((info.name, TensorType(element_type_of(dtype_of_input(info)), dims)))
    return drawn(ports, 0)


def noise(
    before: ModelProto, after: ModelProto, layers: Sequence[str],
    items: Sequence[Mapping[str, Array]],
) -> tuple[LayerNoise, ...]:  # fmt: skip
    """The noise at each tensor that both models have, product by product."""
    stands = _counterparts(before, after)
    names = list(stands)
    signal = dict.fromkeys(names, 0.0)
    noises = dict.fromkeys(names, 0.0)
    short = _short_inputs(after)
    given = [{n: a.astype(np.float16) if n in short else a for n, a in i.items()} for i in items]
    both = zip(tensors_of(before, names, items), tensors_of(after, list(stands.values()), given))
    for expected, got in both:
        for name, other in stands.items():
            x, y = expected[name], got[other]
            if x.dtype.kind != "f" or x.shape != y.shape:
                continue
            x = x.astype(np.float64)
            signal[name] += float(np.square(x).sum())
            noises[name] += float(np.square(x - y).sum())
    ratio = {n: _decibels(signal[n], noises[n]) for n in names}
    reached: dict[str, float] = {}
    rows: list[LayerNoise] = []
    quantized = set(layers)
    for node in before.graph.node:
        read = min((reached.get(name, math.inf) for name in node.input), default=math.inf)
        for name in node.output:
            reached[name] = min(read, ratio[name]) if name in ratio else read
        if node.op_type not in PRODUCTS:
            continue
        result = _followed(before, node.output[0], ratio)
        own = ratio.get(result, math.inf)
        lost = max(0.0, min(read, HIGHEST_DB) - own) if math.isfinite(own) else 0.0
        rows.append(LayerNoise(node.name, node.op_type, node.name in quantized, own, lost))
    return tuple(rows)


def _short_inputs(model: ModelProto) -> set[str]:
    """The inputs that are f16, whatever they were."""
    from onnx import TensorProto

    kinds = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    return {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16}


def _counterparts(before: ModelProto, after: ModelProto) -> dict[str, str]:
    """The tensors of a model that its quantized copy has, and what they are there: quantized and back,
    where they are."""
    there = {name for node in after.graph.node for name in node.output}
    stored = {n.output[0]: n.input[0] for n in after.graph.node if n.op_type == "QuantizeLinear"}
    back = {
        stored[n.input[0]]: n.output[0]
        for n in after.graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in stored
    }
    names = [name for node in before.graph.node for name in node.output[:1]]
    return {name: back.get(name, name) for name in names if name in there}


def _followed(model: ModelProto, name: str, known: Mapping[str, float]) -> str:
    """A tensor, or what an activation makes of it where that took it in: saturation is a ReLU."""
    users = [n for n in model.graph.node if name in n.input]
    while name not in known and len(users) == 1 and users[0].op_type in ("Relu", "Clip"):
        name = users[0].output[0]
        users = [n for n in model.graph.node if name in n.input]
    return name


def _decibels(signal: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
