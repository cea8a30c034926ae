"""The measurements: each yields tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from kpu_ir.bench import programs
from kpu_ir.bench.table import Column, Table, change, milliseconds, share, times, whole
from kpu_ir.bench.workloads import (
    Shape,
    add,
    attention_block,
    chain,
    in_words,
    kernels,
    matmul,
    outlined,
    replay,
    room_for,
    schedules_of,
    transposition,
    with_bias,
)
from kpu_ir.frontends.python.value import Value
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.pipeline import compile
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.options import Options
from kpu_ir.report.summary import moved
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.io_bound import io_lower_bound
from kpu_ir.sim.time.model import TimeModel
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.score import time_schedule


@dataclass(frozen=True)
class Setting:
    """What every measurement is made on."""

    machine: Machine
    options: Options = field(default_factory=Options)
    say: Callable[[str], None] = lambda stage: None

    def compile(self, module: ModuleOp, machine: Machine | None = None, **more: Any) -> Compiled:
        """Compile for the machine."""
        options = replace(self.options, **more)
        return compile(module, machine or self.machine, options=options)


# -- products -------------------------------------------------------------------------------------


def matmul_row(shape: Shape, setting: Setting) -> dict[str, Any]:
    """One product with the schedule that is chosen for it."""
    setting.say(f"matmul {shape}")
    machine, note = room_for(setting.machine, 4 * shape.words)
    compiled = setting.compile(matmul(shape), machine)
    cycles = compiled.cycles
    words = compiled.timing.external_bytes // 4
    l3 = io_lower_bound(shape.m, shape.k, shape.n, machine.l3.bytes // 4)
    on_chip = compiled.summary().io_bound_bytes
    (schedule,) = schedules_of(compiled).values()
    return {
        "shape": str(shape),
        "cycles": cycles,
        "peak_fraction": shape.macs / machine.peak_macs() / cycles,
        "roofline_fraction": shape.roofline(machine) / cycles,
        "allowed_fraction": shape.macs / machine.peak_macs() / shape.roofline(machine),
        "external_words": words,
        "io_bound_words": l3,
        "io_bound_ratio": words / l3,
        "chip_bound_ratio": None if on_chip is None else 4 * words / on_chip,
        "compile_seconds": compiled.compile_seconds,
        "schedule": in_words(schedule),
        "note": note,
    }


def matmul_table(shapes: Sequence[Shape], setting: Setting, title: str = "") -> Table:
    """Products, row by row."""
    rows = [matmul_row(shape, setting) for shape in shapes]
    raised = [f"{row['shape']}: {row['note']}." for row in rows if row["note"]]
    columns = [
        Column("shape", "M x N x K"), Column("cycles", "cycles", whole),
        Column("peak_fraction", "utilization", share), Column("roofline_fraction", "of roofline", share),
        Column("allowed_fraction", "roofline allows", share),
        Column("external_words", "external words", whole),
        Column("io_bound_ratio", "x I/O bound (L3)", times),
        Column("chip_bound_ratio", "x I/O bound (chip)", times),
        Column("schedule", "schedule"),
    ]  # fmt: skip
    return Table(
        title
        or f"f32 products on {setting.machine.name}, schedules by {setting.options.objective}",
        columns,
        rows,
        (
            "Roofline: work padded to whole rows and columns of the array (in the dataflow that wastes "
            "least) at peak, or each word moved once at the external rate, whichever takes longer. "
            "I/O bound: kpu_ir.sim.time.io_bound with the words of L3, and with all memories of the chip. "
            "Schedule: tile MxNxK, dataflow, loop order, what stays where, depths L3/L2/result, "
            "steps by which results are deferred.",
            *raised,
        ),
    )


def tiles_table(shape: Shape, setting: Setting) -> Table:
    """What each decision of the chosen schedule is worth: one changed at a time."""
    machine, note = room_for(setting.machine, 4 * shape.words)
    module = outlined(matmul(shape))
    (func,) = kernels(module).values()
    strategy = recognise(func)
    (chosen,) = schedules_of(setting.compile(matmul(shape), machine)).values()
    m, n, k = chosen.tile
    rows, columns = machine.fabric.rows, machine.fabric.columns
    variants: list[tuple[str, Schedule]] = [("chosen", chosen)]

    def vary(what: str, **changes: Any) -> None:
        new = replace(chosen, **changes)
        if new != chosen and min(new.tile) > 0:
            variants.append((what, new))

    for what, extent in (
        ("m - rows", m - rows),
        ("m + rows", m + rows),
        ("m / 2", m // 2),
        ("2 m", 2 * m),
    ):
        vary(what, tile=(extent, n, k))
    for what, extent in (
        ("n - columns", n - columns), ("n + columns", n + columns), ("n / 2", n // 2), ("2 n", 2 * n),
    ):  # fmt: skip
        vary(what, tile=(m, extent, k))
    for what, extent in (("k / 2", k // 2), ("2 k", 2 * k), ("all of k", shape.k)):
        vary(what, tile=(m, n, extent))
    vary("other loop outside", order="nm" if chosen.order == "mn" else "mn")
    for flow in ("os", "ws", "is"):
        vary(f"dataflow {flow}", dataflow=flow)
    for level in ("", "l3", "l2"):
        vary(f"a stays: {level or 'nowhere'}", lhs=level)
        vary(f"b stays: {level or 'nowhere'}", rhs=level)
    for depth in (1, 2, 3, 4):
        vary(f"L2 depth {depth}", depth=depth)
        vary(f"L3 depth {depth}", l3_depth=depth)
        vary(f"result depth {depth}", out_depth=depth)
    for defer in (0, 1, 4, 8):
        vary(f"defer {defer}", defer=defer)
    found: list[dict[str, Any]] = []
    best = 0
    for what, schedule in variants:
        setting.say(f"{shape}: {what}")
        row: dict[str, Any] = {"change": what, "schedule": in_words(schedule), "note": ""}
        try:
            timing = time_schedule(func, strategy, schedule, machine)
        except KpuError as e:
            row |= {"note": e.message}
        else:
            best = best or timing.cycles
            row |= {
                "cycles": timing.cycles,
                "external_bytes": timing.external_bytes,
                "slower": timing.cycles / best - 1,
            }
        found.append(row)
    shown = [
        Column("change", "change"), Column("cycles", "cycles", whole),
        Column("slower", "against chosen", change), Column("external_bytes", "external bytes", whole),
        Column("schedule", "schedule"), Column("note", ""),
    ]  # fmt: skip
    return Table(f"Schedules around the chosen one, {shape}", shown, found, (note,) if note else ())


# -- bandwidth ------------------------------------------------------------------------------------


def bandwidth_table(setting: Setting) -> Table:
    """DMA, block movers and streamers by themselves, in programs that do nothing else."""
    machine = setting.machine
    rows: list[dict[str, Any]] = []

    def row(engine: str, what: str, text: str, kind: str, size: str) -> None:
        setting.say(f"{engine} {what} {size}")
        timing = programs.timed(text, machine)
        bytes, peak = moved(timing.counts)[kind], machine.bandwidth[kind]
        rows.append({
            "engine": engine, "what": what, "tile": size, "bytes": bytes, "cycles": timing.cycles,
            "achieved": bytes / timing.cycles, "peak": peak,
            "fraction": bytes / timing.cycles / peak,
        })  # fmt: skip

    for r, c in ((8, 64), (64, 64), (128, 128)):
        size, trips = f"{r}x{c}", (1 << 22) // (r * c)
        row("DMA", "read", programs.dma_read(r, c, trips), "dma", size)
        row("DMA", "write", programs.dma_write(r, c, trips), "dma", size)
        row("DMA", "copy", programs.copy(r, c, trips // 2), "dma", size)
        row("block movers", "L3 to L2", programs.mover(r, c, trips), "mover", size)
        row("block movers", "L2 to L3", programs.mover(r, c, trips, back=True), "mover", size)
    for m, n, k in ((16, 16, 256), (32, 32, 256), (64, 64, 256)):
        text = programs.streamer(m, n, k, (1 << 28) // (m * n * k))
        row("streamers", "product", text, "streamer", f"{m}x{n}x{k}")
    shown = [
        Column("engine", "engine"), Column("what", "program"), Column("tile", "tile"),
        Column("cycles", "cycles", whole), Column("achieved", "bytes/cycle", lambda v: f"{v:.2f}"),
        Column("peak", "peak", whole), Column("fraction", "of peak", share),
    ]  # fmt: skip
    note = (
        "Small dma programs, fill and drain counted. Of the streamers' rate, a product whose operands "
        "partly stay in L1 needs only a part."
    )
    return Table(f"Engines by themselves on {machine.name}", shown, rows, (note,))


def external_table(setting: Setting) -> Table:
    """Compiled kernels that external memory bounds."""
    machine = setting.machine
    rate = machine.bandwidth["dma"]
    cases: list[tuple[str, ModuleOp, int]] = [
        ("matrix-vector 1x4096x4096", matmul(Shape(1, 4096, 4096)), Shape(1, 4096, 4096).words),
        ("add 4M", add(1 << 22), 3 << 22),
        ("transposition 2048x2048", transposition(2048, 2048), 2 << 22),
    ]
    rows: list[dict[str, Any]] = []
    for name, module, words in cases:
        setting.say(name)
        timing = setting.compile(module).timing
        rows.append({
            "kernel": name, "cycles": timing.cycles, "external_bytes": timing.external_bytes,
            "fraction": timing.external_bytes / timing.cycles / rate,
            "compulsory_fraction": 4 * words / timing.cycles / rate,
        })  # fmt: skip
    shown = [
        Column("kernel", "kernel"), Column("cycles", "cycles", whole),
        Column("external_bytes", "external bytes", whole),
        Column("fraction", f"of {rate * machine.clock_hz / 1e9:g} GB/s", share),
        Column("compulsory_fraction", "with each word once", share),
    ]  # fmt: skip
    return Table(f"Compiled kernels against external memory on {machine.name}", shown, rows)


# -- fusion and graphs ----------------------------------------------------------------------------


def activation_table(shapes: Sequence[Shape], setting: Setting) -> Table:
    """What an epilogue costs, on the drain and as kernels of its own."""
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        plain = 0
        cases = {
            "product": lambda shape=shape: matmul(shape),
            "+ bias": lambda shape=shape: with_bias(shape),
            "+ bias, relu": lambda shape=shape: with_bias(shape, Value.relu),
            "+ bias, gelu": lambda shape=shape: with_bias(shape, Value.gelu),
        }
        for name, make in cases.items():
            setting.say(f"{shape} {name}")
            fused = setting.compile(make(), fuse="epilogue").timing
            apart = setting.compile(make(), fuse="none").timing
            plain = plain or fused.cycles
            rows.append({
                "shape": str(shape), "what": name, "fused_cycles": fused.cycles,
                "cost": fused.cycles / plain - 1, "unfused_cycles": apart.cycles,
                "unfused_cost": apart.cycles / plain - 1, "gain": apart.cycles / fused.cycles,
                "fused_bytes": fused.external_bytes, "unfused_bytes": apart.external_bytes,
            })  # fmt: skip
    shown = [
        Column("shape", "M x N x K"), Column("what", "kernel"),
        Column("fused_cycles", "fused", whole), Column("cost", "costs", change),
        Column("unfused_cycles", "unfused", whole), Column("unfused_cost", "costs", change),
        Column("gain", "unfused / fused", times),
        Column("fused_bytes", "bytes fused", whole), Column("unfused_bytes", "bytes unfused", whole),
    ]  # fmt: skip
    return Table(f"Epilogues on {setting.machine.name}: cycles", shown, rows)


def fusion_table(setting: Setting) -> Table:
    """Blocks of transformers, from one kernel an operator to what fusion leaves of them."""
    rows: list[dict[str, Any]] = []
    cases: dict[str, Callable[[], ModuleOp]] = {
        "feed-forward 1024x768-3072-768": lambda: chain(
            (768, 3072, 768), 1024, lambda y: y, Value.gelu
        ),
        "attention block 512x768, 12 heads": lambda: attention_block(512, 768, 12),
    }
    for name, make in cases.items():
        before: dict[str, Any] = {}
        for mode in ("none", "epilogue", "full"):
            setting.say(f"{name} {mode}")
            compiled = setting.compile(make(), fuse=mode)
            row: dict[str, Any] = {
                "block": name, "fuse": mode, "kernels": len(compiled.program.calls),
                "cycles": compiled.cycles, "bytes": compiled.timing.external_bytes,
                "chosen": "; ".join(
                    f"{c.group} {'fused' if c.fuse else 'apart'}" for c in compiled.fusion
                ) or "-",
                "other": "; ".join(
                    str(c.apart if c.fuse else c.fused or c.why) for c in compiled.fusion
                ) or "-",
            }  # fmt: skip
            before = before or row
            row["less"] = before["bytes"] / row["bytes"]
            rows.append(row)
    shown = [
        Column("block", "block"), Column("fuse", "--fuse"), Column("kernels", "kernels", whole),
        Column("cycles", "cycles", whole), Column("bytes", "external bytes", whole),
        Column("less", "fewer", times), Column("chosen", "chosen"),
        Column("other", "the other would have cost"),
    ]  # fmt: skip
    return Table(f"Fusion on {setting.machine.name}, from one kernel an operator", shown, rows)


@contextmanager
def no_cache() -> Generator[None]:
    """Nothing is known of earlier searches meanwhile."""
    old = os.environ.get("KPU_IR_CACHE")
    with TemporaryDirectory() as folder:
        os.environ["KPU_IR_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["KPU_IR_CACHE"]
            if old is not None:
                os.environ["KPU_IR_CACHE"] = old


def graph_table(setting: Setting, layers: int = 12, width: int = 256) -> Table:
    """One layer against a chain of equal ones."""
    rows: list[dict[str, Any]] = []
    for search in ("quick", "none"):
        first: dict[str, Any] = {}
        for count in (1, layers):
            setting.say(f"{count} layers, search {search}")
            module = chain([width] * (count + 1), width, Value.relu, Value.relu)
            with no_cache():
                compiled = setting.compile(module, search=search)
            row: dict[str, Any] = {
                "search": search, "layers": count, "compile_seconds": compiled.compile_seconds,
                "cycles": compiled.cycles,
                **{f"{at}_ops": sum(1 for _ in m.walk()) for at, m in compiled.stages.items()},
            }  # fmt: skip
            first = first or row
            row["compile_ratio"] = row["compile_seconds"] / first["compile_seconds"]
            row["cycles_ratio"] = row["cycles"] / first["cycles"]
            rows.append(row)
    shown = [
        Column("search", "search"), Column("layers", "layers", whole),
        Column("compile_ratio", "compile time", times), Column("kernel_ops", "kernel ops", whole),
        Column("tile_ops", "tile ops", whole), Column("dma_ops", "dma ops", whole),
        Column("cycles", "cycles", whole), Column("cycles_ratio", "cycles", times),
    ]  # fmt: skip
    title = f"One layer (relu(x @ w + b), {width}x{width}x{width}) against a chain of {layers}"
    note = "Equal kernels share a function, so that its schedule is looked for once; no cache was there."
    return Table(title, shown, rows, (note,))


# -- the tools ------------------------------------------------------------------------------------


def least_seconds(what: Callable[[], Any], times: int) -> float:
    """The shortest of some runs."""
    found: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        found.append(time.perf_counter() - began)
    return min(found)


def program_of(n: int, schedule: Schedule, machine: Machine) -> Program:
    """A square product with a given schedule."""
    shape = Shape(n, n, n)
    module = outlined(matmul(shape))
    return replay(
        module, room_for(machine, 4 * shape.words)[0], dict.fromkeys(kernels(module), schedule)
    )


def speed_table(setting: Setting) -> Table:
    """How fast the simulator and the tools are."""
    machine = setting.machine
    schedule = Schedule(tile=(64, 64, 64), order="nm")
    rows: list[dict[str, Any]] = []

    def row(what: str, value: float, format: Callable[[Any], str], goal: str) -> None:
        rows.append({"what": what, "value": value, "text": format(value), "goal": goal})

    setting.say("event-stepped")
    big = program_of(2048, schedule, machine)
    seconds = least_seconds(lambda: TimeModel(big, fast_forward=False).run(), 3)
    operations = TimeModel(big).run().operations
    row("event-stepped: operations a second (2048)", operations / seconds, whole, "300,000 or more")
    setting.say("fast-forwarded")
    sizes = {n: program_of(n, schedule, machine) for n in (256, 16384)}
    closed = {n: least_seconds(lambda p=p: TimeModel(p).run(), 7) for n, p in sizes.items()}
    row(
        "fast-forwarded: 16384 against 256, one schedule",
        closed[16384] / closed[256],
        times,
        "2 x or less",
    )
    row("fast-forwarded: 16384", closed[16384], milliseconds, "50 ms or less")
    row(
        "fast-forwarded: operations stepped of 16384",
        TimeModel(sizes[16384]).run().stepped,
        whole,
        "",
    )
    setting.say("search")
    took = 1e9
    for _ in range(3):
        with no_cache():
            compiled = setting.compile(matmul(Shape(1000, 1000, 1000)), search="quick")
        took = min(took, compiled.compile_seconds)
    row("compile 1000 with a quick search", took, milliseconds, "2 s or less")
    setting.say("start-up")
    folder = Path(sys.executable).parent
    starts = {"kpu-opt": 1e9, "xdsl-opt": 1e9}
    for tool in (*starts,) * 8:  # in turn, so that whatever else the computer does slows both
        if not (folder / tool).is_file():
            raise KpuError(f"{tool} is not installed", str(folder), "run make venv")
        command = [str(folder / tool), "--help"]
        took = least_seconds(
            lambda command=command: subprocess.run(command, capture_output=True, check=True), 1
        )
        starts[tool] = min(starts[tool], took)
    row("kpu-opt --help against xdsl-opt --help", starts["kpu-opt"] / starts["xdsl-opt"], times, "")
    shown = [Column("what", "what"), Column("text", "measured"), Column("goal", "goal")]
    note = f"Best of some runs. Schedule where one is given: {in_words(schedule)}."
    return Table("Speed of the tools, on the machine that ran this", shown, rows, (note,))
