"""``kpu-bench kernels``: each operator against the least that its useful work and its tensors need."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from kpu_ir.bench.kernel_cases import Case, cases
from kpu_ir.bench.measure import Setting
from kpu_ir.bench.table import Column, Table, times, whole
from kpu_ir.bench.workloads import ROOT
from kpu_ir.machine import Machine
from kpu_ir.program.compiled import Compiled
from kpu_ir.support.errors import KpuError

PAGE = ROOT / "docs" / "kernels.md"

FAR = 2.0
"""A kernel that takes more than so many times its bound is far from it."""


def model_of(case: Case) -> Any:
    """The model of one node."""
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"f32": TensorProto.FLOAT, "i64": TensorProto.INT64, "i32": TensorProto.INT32,
             "i8": TensorProto.INT8, "u8": TensorProto.UINT8, "bool": TensorProto.BOOL}  # fmt: skip
    inputs = [f"x{i}" for i in range(len(case.inputs))]
    known = [f"c{i}" for i in range(len(case.constants))]
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(
        case.op, [*inputs, *known], outputs, domain=case.domain, **case.attributes
    )
    graph = helper.make_graph(
        [node],
        case.op,
        [
            helper.make_tensor_value_info(name, kinds[kind], shape)
            for name, (shape, kind) in zip(inputs, case.inputs)
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in zip(known, case.constants)],
    )
    opset = [helper.make_opsetid("", case.opset)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def bound_of(case: Case, program: Compiled, machine: Machine) -> tuple[int, str]:
    """The cycles that no run goes below, and what says so: the model's tensors once past external
    memory, its multiply-accumulates on the array (on the vector engine where that does not know the
    type), its other operations on the vector engine; one fetch latency, and one fill and drain of the
    array if it works."""
    summary, compiled = program.summary(), program.program
    ends = [compiled.buffers[p.buffer].bytes for p in (*compiled.inputs, *compiled.outputs)]
    weights = sum(np.asarray(c).nbytes for c in case.constants if np.size(c) > 64)
    bytes_ = sum(ends) + weights
    if case.op.startswith(("Gather", "Slice")):  # only what is chosen is read
        bytes_ = 2 * ends[-1] + sum(ends[1:-1])
    macs = summary.model_macs or 0
    kind = "i8" if "Integer" in case.op else case.inputs[0][1]
    known = kind in machine.fabric.macs
    group = case.attributes.get("group", 1)
    deep = case.op == "Conv" and group > 1 and case.constants[0].shape[1] == 1
    intervals, lanes = machine.vector.initiation_interval, machine.vector.lanes
    vector = macs / lanes if deep or not known else 0.0
    array = 0.0 if vector or not macs else macs / machine.peak_macs(kind)
    shapes = [shape for shape, _ in case.inputs]
    results = [tuple(p.type.get_shape()) for p in compiled.outputs]
    elements = case.elements or max(prod(shapes[0]), *(prod(s) for s in results))
    vector += elements * sum(intervals[c] for c in case.work.split()) / lanes
    limits = {
        "external memory": bytes_ / machine.bandwidth["dma"],
        "array": array,
        "vector engine": vector,
    }
    what = max(limits, key=lambda name: limits[name])
    fabric = machine.fabric
    ends_ = machine.external.latency + (2 * fabric.rows + fabric.columns - 2 if array else 0)
    return max(1, round(limits[what])) + ends_, what


def measured(case: Case, setting: Setting) -> dict[str, Any]:
    """A case's row."""
    from kpu_ir.frontends.onnx import import_onnx
    from kpu_ir.pipeline import compile

    row: dict[str, Any] = {"case": case.name, "operator": case.op, "why": case.why}
    try:
        program = compile(import_onnx(model_of(case)), setting.machine, options=setting.options)
        bound, by = bound_of(case, program, setting.machine)
    except KpuError as e:
        return {**row, "bound by": str(e), "ratio": float("inf")}
    cycles = program.timing.cycles
    # What was read or written nowhere (a reshape) takes nothing.
    ratio = cycles / bound
    kernels = len(program.program.calls)
    return {**row, "cycles": cycles, "bound": bound, "by": by, "kernels": kernels, "ratio": ratio}


def kernels_table(only: Sequence[str], setting: Setting, say: Callable[[str], None]) -> Table:
    """Every case, or those whose name begins with one of ``only``; the farthest from its bound first.

    Raises ``KpuError`` where nothing is called so.
    """
    chosen = [c for c in cases() if not only or any(c.name.startswith(n) for n in only)]
    if not chosen:
        raise KpuError(f"no kernel's name begins with {' or '.join(only)}", hint="as Conv, TopK")
    rows: list[Mapping[str, Any]] = []
    for number, case in enumerate(chosen):
        say(f"{number} of {len(chosen)}: {case.name}")
        rows.append(measured(case, setting))
    rows.sort(key=lambda row: -row["ratio"])
    ratios = [row["ratio"] for row in rows]
    operators = len({row["operator"] for row in rows})
    far = sum(r > FAR for r in ratios)
    notes = (
        f"{len(rows)} kernels of {operators} operators: median {statistics.median(ratios):.2f} x "
        f"their bound, {far} over {FAR:g} x.",
    )
    columns = [
        Column("case", "kernel"), Column("cycles", "cycles", whole), Column("bound", "bound", whole),
        Column("by", "bound by"), Column("kernels", "programs", whole), Column("ratio", "ratio", times),
        Column("why", "why"),
    ]  # fmt: skip
    return Table("Kernels against their bounds, the farthest first", columns, rows, notes)


def page(table: Table) -> str:
    """The page of the docs."""
    return f"""\
# Kernels against their bounds

Written by `kpu-bench kernels`. Each row is one ONNX node by itself, in a shape of a real network or an odd one.
Its *bound* counts useful work and compulsory bytes alone: its multiply-accumulates on the array (of depthwise ones, and
of types that the array does not multiply, on the vector engine), its other operations on the vector engine, the
model's own tensors once past external memory; and one fetch latency, and one fill and drain of the array. A zero that
we insert is no work, an array that we make is no compulsory byte. *programs*: how many kernels the node becomes.

{table.markdown()}
Small tensors are far from their bound where nothing overlaps: a transfer, a move to L2, an operation and the way
back follow each other, each with its own first and last block. What a machine charges beside work and bytes (set-up,
bursts, latencies, signals between engines; `kpu-run --without`) is in the cycles and in no bound: rows without a reason
are those.
"""
