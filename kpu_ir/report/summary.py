"""The figures of a run. Each one is counted by the simulator, or divided from counted ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr

from kpu_ir.machine import Machine
from kpu_ir.machine.area import area, leakage_by_part, leakage_watts
from kpu_ir.machine.settings import flat
from kpu_ir.report.costs import costs_of
from kpu_ir.report.figures import Error, KernelRow, Summary
from kpu_ir.report.origin import Origin
from kpu_ir.report.power import power_of_calls
from kpu_ir.report.run import Run
from kpu_ir.sim.program.plan import Fetch, Loop, Matmul, Move, Node, Plan, Write, steps
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.clock import CallTiming, Timing
from kpu_ir.sim.time.energy import energy, standing_watts
from kpu_ir.sim.time.io_bound import io_lower_bound
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of

Array = np.ndarray[Any, np.dtype[Any]]

LEVELS = ("external", "l3", "l2", "l1")


def macs_of(counts: Mapping[str, int]) -> dict[str, int]:
    """Multiply-accumulates of the array by operand type."""
    return {k.removeprefix("macs."): n for k, n in counts.items() if k.startswith("macs.")}


def vector_macs(counts: Mapping[str, int]) -> int:
    """Multiply-accumulates of the vector engine: depthwise convolutions, and products of types that
    the array does not multiply."""
    return sum(n for k, n in counts.items() if k.startswith("vector_macs."))


def macs_by_type(counts: Mapping[str, int]) -> dict[str, int]:
    """Multiply-accumulates, of the array and of the vector engine, by the type that is multiplied."""
    found: dict[str, int] = {}
    for key, n in counts.items():
        where, _, kind = key.partition(".")
        if where in ("macs", "vector_macs"):
            found[kind] = found.get(kind, 0) + n
    return found


def all_macs(counts: Mapping[str, int]) -> int:
    """Multiply-accumulates, whoever did them."""
    return sum(macs_of(counts).values()) + vector_macs(counts)


def moved(counts: Mapping[str, int]) -> dict[str, int]:
    """Bytes that each carried: external to L3 and back, L3 to L2 and back, L2 to L1."""
    external = counts.get("external.read", 0) + counts.get("external.write", 0)
    l3 = counts.get("l3.read", 0) + counts.get("l3.write", 0)
    return {"dma": external, "mover": l3 - external, "streamer": counts.get("l1.write", 0)}


def bounds(counts: Mapping[str, int], machine: Machine) -> dict[str, float]:
    """Cycles that no run with these counts can go below: all at their full rates. External memory
    moves whole bursts, and is refreshed."""
    memory, carried = machine.external, moved(counts)
    bounds = {name: n / machine.bandwidth[name] for name, n in carried.items()}
    bounds["dma"] = counts.get("external.burst", carried["dma"]) / machine.bandwidth["dma"]
    if memory.refresh_interval:
        bounds["dma"] /= 1 - memory.refresh_cycles / memory.refresh_interval
    compute = sum(n / machine.peak_macs(kind) for kind, n in macs_of(counts).items())
    return {"compute": compute, **bounds}


def compulsory_bytes(program: Program) -> int:
    """Bytes that any schedule moves: inputs, weights and results that kernels use, once."""
    used = {a for call in program.calls for a in call.arguments}
    ends = {p.buffer for p in (*program.inputs, *program.outputs)}
    return sum(
        b.bytes
        for b in program.buffers
        if b.index in used and (b.kind == "constant" or b.index in ends)
    )


def check_figures(machine: Machine) -> None:
    """Refuse a machine whose seconds or picojoules would be no numbers."""
    if not SMALLEST <= machine.clock_hz <= LARGEST:
        raise KpuError(
            f"a clock of {machine.clock_hz:g} Hz gives no time that can be told",
            "clock_hz",
            f"from {SMALLEST:g} to {LARGEST:g}",
        )
    table = machine.energy
    costs = (table.external, table.l3, table.l2, table.l1, table.activation)
    costs += (table.refresh, table.background, *table.vector.values(), *table.mac.values())
    size = area(machine).total
    if size > LARGEST or machine.area.leakage > LARGEST:
        raise KpuError(
            f"an area of {size:g} mm2 and its leakage cannot be told",
            "area",
            f"at most {LARGEST:g}",
        )
    if max(costs) > LARGEST:
        raise KpuError(
            f"an event of {max(costs):g} pJ gives no energy that can be told",
            "energy",
            f"at most {LARGEST:g}",
        )


def power(pj: float, seconds: float, machine: Machine) -> dict[str, float]:
    """Watts on average: of ``pj`` picojoules within ``seconds``, and what leaks."""
    return {"dynamic": pj * 1e-12 / seconds, "leakage": leakage_watts(machine)}


SMALLEST, LARGEST = 1e-60, 1e60
"""Between them lie a clock's frequency and an event's energy: what is divided and multiplied by them
stays far from where floats end."""


def io_bound_bytes(plan: Plan, macs: int, machine: Machine) -> int | None:
    """Bytes that a kernel must move to and from the chip in whatever order it works.

    All memories of the chip and the array's accumulators count as one: what stands in any of them
    need not come again. None unless the kernel is one product of tensors in external memory.
    """
    found = [s for s in steps(plan.body) if isinstance(s, Matmul)]
    if any(isinstance(s, Fetch | Write) and s.pinned for s in steps(plan.body)):
        return None
    shapes = [tuple(t.get_shape()) for t in plan.parameters]
    if not found or any(s.window or s.batch != 1 for s in found) or len(shapes[-1]) != 2:
        return None
    m, n = shapes[-1]
    k = macs // (m * n)
    if not {(m, k), (k, m)}.intersection(shapes[:-1]) or not {(k, n), (n, k)}.intersection(
        shapes[:-1]
    ):
        return None
    size = max(1, min(map(bits_of, found[0].elements)) // 8)
    chip = sum(machine.capacity[level] for level in ("l3", "l2", "l1"))
    accumulators = 2 * machine.fabric.rows * machine.fabric.columns
    return size * io_lower_bound(m, k, n, chip // size + accumulators)


def product_bytes(plan: Plan) -> int:
    """External bytes of the operands of a kernel's products, and of its results; not those of what is
    added to them besides."""
    wanted: set[int] = set()
    for step in steps(plan.body):
        if isinstance(step, Matmul):
            wanted |= {step.lhs, step.rhs}
    for step in reversed(list(steps(plan.body))):
        if isinstance(step, Move) and step.out in wanted:
            wanted.add(step.source)

    def moved(nodes: Sequence[Node]) -> int:
        total = 0
        for node in nodes:
            if isinstance(node, Loop):
                total += node.trips * moved(node.body)
            elif isinstance(node, Write) or (
                isinstance(node, Fetch) and node.moves and node.out in wanted
            ):
                total += node.bytes
        return total

    return moved(plan.body)


def coverage(macs: int, of_model: int | None, host: int | None) -> float | None:
    """The share of a model's multiply-accumulates that was simulated: all, where no operator is on the
    host, however many it took (a product with zeros is left out, padding is multiplied); never more."""
    if not of_model:
        return None
    return 1.0 if host == 0 else min(1.0, macs / of_model)


def model_figures(compiled: Run) -> dict[str, int]:
    """What the importer said of the model (``kpu.model`` of the module); nothing for other
    sources."""
    module = compiled.stages.get("dma")
    given = module.attributes.get("kpu.model") if module is not None else None
    if not isinstance(given, DictionaryAttr):
        return {}
    return {k: v.value.data for k, v in given.data.items() if isinstance(v, IntegerAttr)}


def advances(ends: Iterable[int]) -> Iterator[int]:
    """How far each end moves the latest one so far.

    >>> list(advances([10, 25, 20, 32]))
    [10, 15, 0, 7]
    """
    latest = 0
    for end in ends:
        yield max(0, end - latest)
        latest = max(latest, end)


def kernel_row(call: CallTiming, cycles: int, plan: Plan, machine: Machine) -> KernelRow:
    """The figures of one call, which adds ``cycles`` to the run."""
    limits = bounds(call.counts, machine)
    limits["vector"] = call.busy.get("vector", 0)
    binding = max(limits, key=lambda name: limits[name])
    span = call.end - call.start
    macs = all_macs(call.counts)
    return KernelRow(
        call.label,
        call.kernel,
        call.start,
        call.end,
        span,
        cycles,
        macs,
        moved(call.counts)["dma"],
        energy(call.counts, machine, cycles).total,
        binding,
        limits[binding] / span if span else 0.0,
        call.busy,
        io_bound_bytes(plan, macs, machine),
        macs_by_type(call.counts),
    )


def summarise(
    compiled: Run,
    timing: Timing,
    simulate_seconds: float,
    error: Error | None = None,
    command: str = "",
) -> Summary:
    """The figures of a compiled program's run; ``command`` is what gave them, if it was one.

    Raises ``KpuError`` where the machine's own are beyond what can be calculated with.
    """
    program, machine = compiled.program, compiled.program.machine
    check_figures(machine)
    counts = timing.counts
    limits = bounds(counts, machine)
    vector = {**limits, "vector": float(timing.busy.get("vector", 0))}
    # Strided windows, slices and gathers need not read all of their operands.
    needed = min(compulsory_bytes(program), moved(counts)["dma"])
    added = advances(call.end for call in timing.calls)
    rows = [
        kernel_row(timed, cycles, call.plan, machine)
        for timed, call, cycles in zip(timing.calls, program.calls, added, strict=True)
    ]
    least = [row.io_bound_bytes for row in rows if row.io_bound_bytes is not None]
    macs = all_macs(counts)
    model = model_figures(compiled)
    host = model["nodes"] - model["folded"] - model["device"] if "device" in model else None
    cycles = max(1, timing.cycles)
    spent = energy(counts, machine, timing.cycles)
    compulsory = max(limits["compute"], needed / machine.bandwidth["dma"])
    origin = Origin.of(machine, command or compiled.command)
    return Summary(
        outputs="compared with the reference" if error else "not compared",
        version=origin.version,
        command=origin.command,
        source=compiled.source,
        machine=origin.machine,
        machine_digest=origin.machine_digest,
        clock_hz=machine.clock_hz,
        cycles=timing.cycles,
        seconds=machine.seconds(timing.cycles),
        macs=macs,
        flops=2 * macs + counts.get("lane_ops", 0),
        vector_types=[
            kind
            for kind in sorted(
                k.removeprefix("vector_macs.") for k in counts if "vector_macs." in k
            )
            if kind not in machine.fabric.macs
        ],
        model_macs=model.get("macs"),
        coverage=coverage(macs, model.get("macs"), host),
        model_nodes=model.get("nodes"),
        folded_nodes=model.get("folded"),
        host_nodes=host,
        peak_fraction=limits["compute"] / cycles,
        roofline_fraction=max(limits.values()) / cycles,
        compulsory_fraction=compulsory / cycles,
        bound_by=max(vector, key=lambda name: vector[name]),
        bytes={
            level: {d: counts.get(f"{level}.{d}", 0) for d in ("read", "write")} for level in LEVELS
        },
        compulsory_bytes=needed,
        external_peak_bytes=program.external_bytes,
        tensor_bytes=sum(b.bytes for b in program.buffers if b.level == "external"),
        io_bound_bytes=sum(least) if rows and len(least) == len(rows) else None,
        engines=timing.engines,
        events=dict(sorted(counts.items())),
        energy_pj=spent.parts,
        energy_table={key: float(pj) for key, pj in flat(asdict(machine.energy))},
        costs=costs_of(program, timing.cycles),
        area_mm2=area(machine).parts,
        power_w=power(spent.total, machine.seconds(cycles), machine),
        power_peak_w=power_of_calls(timing.calls, timing.cycles, machine).peak,
        standby_w=standing_watts(machine),
        leakage_w=leakage_by_part(machine),
        kernels=rows,
        max_abs_error=error.absolute if error else None,
        max_rel_error=error.relative if error else None,
        short_type=(error.kind or None) if error else None,
        error_steps=error.steps if error else None,
        rounding_steps=error.rounding if error else None,
        compile_seconds=compiled.compile_seconds,
        simulate_seconds=simulate_seconds,
        operations=timing.operations,
        stepped=timing.stepped,
    )
