"""Every number of the machine moves a result, in the direction that it must."""

import dataclasses
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import i8, i32

from kpu_ir import Graph, KpuError, Machine, Options
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.machine.area import area, leakage_watts
from kpu_ir.machine.parts import CLASSES, GROUPS
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.pipeline import lower
from kpu_ir.scalar import formulas
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.energy import energy
from kpu_ir.sim.time.model import time_program
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.score import time_schedule
from kpu_ir.tuning.search import Search

BASE = Machine.preset("ideal")


def product(m=256, k=256, n=256, formula=None):
    g = Graph()
    y = g.input("x", (m, k)) @ g.input("w", (k, n))
    g.output("y", formula(y) if formula else y)
    return g.module()


def elementwise(formula, n=1 << 16):
    g = Graph()
    g.output("y", formula(g.input("x", (n,))))
    return g.module()


def timed(module, machine, search="none"):
    stages = lower(module.clone(), machine, Options(search=search))
    return time_program(load_program(stages["dma"], machine))


PROGRAMS = {
    "product": lambda: product(),
    "small": lambda: product(128, 128, 128),
    "thin": lambda: product(64, 64, 64),
    "gelu": lambda: product(256, 32, 256, lambda y: y.gelu()),
    "tanh": lambda: elementwise(lambda x: x.tanh()),
    "sqrt": lambda: elementwise(lambda x: x.sqrt()),
    "square": lambda: elementwise(lambda x: x * x * x * x * x * x),
    "relu": lambda: elementwise(lambda x: x.relu()),
    "deep": lambda: product(64, 2048, 64),
}

# (setting, changed value, program, is the machine better for it?)
CYCLES = [
    ("fabric.rows", 32, "product", True),
    ("fabric.columns", 8, "product", False),
    ("fabric.macs.f32", 2, "product", True),
    ("fabric.chained", "false", "thin", False),
    ("vector.lanes", 4, "gelu", False),
    ("vector.initiation_interval.simple", 8, "square", False),
    ("vector.initiation_interval.special", 64, "tanh", False),
    ("vector.initiation_interval.divide", 64, "sqrt", False),
    ("external.latency", 1000, "thin", False),
    ("dma.channels", 1, "relu", False),
    ("dma.bytes_per_cycle", 16, "relu", True),
    ("mover.channels", 1, "relu", False),
    ("mover.bytes_per_cycle", 4, "relu", False),
    ("streamer.bytes_per_cycle", 16, "product", False),
]


@pytest.mark.parametrize("search", ["none", "quick"])
@pytest.mark.parametrize(("setting", "value", "program", "better"), CYCLES)
def test_a_knob_changes_cycles(setting, value, program, better, search, tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    if search == "quick" and program == "product":
        program = "small"  # the same knob, on a product whose search is short
    module = PROGRAMS[program]()
    before = timed(module, BASE, search).cycles
    after = timed(module, BASE.with_settings([f"{setting}={value}"]), search).cycles
    assert after < before if better else after > before


HONEST = Machine.preset("default")


def softmax(*shape, axis):
    g = Graph()
    g.output("y", g.input("x", shape).softmax(axis))
    return g.module()


def transposed(n=256, dtype="f32"):
    g = Graph()
    g.output("y", g.input("x", (n, n), dtype).transpose())
    return g.module()


def gathered():
    g = Graph()
    g.output("y", g.gather(g.input("table", (1000, 24)), g.input("rows", (200,), "i32")))
    return g.module()


def quantized():
    g = Graph()
    y = g.map(
        lambda v: formulas.clip(formulas.round_half_even(v * 0.1), -128.0, 127.0).to(i32).to(i8),
        g.input("x", (1 << 12,)),
    )
    g.output("y", y)
    return g.module()


def weights():
    g = Graph()
    w = np.random.default_rng(0).integers(-8, 8, (512, 256)).astype(ml_dtypes.int4)
    g.output("y", g.input("x", (4, 512), "f16") @ g.constant(w))
    return g.module()


PROGRAMS |= {
    "weights": weights,
    "columns": lambda: softmax(200, 100, axis=0),
    "rows": lambda: softmax(60, 16, axis=1),
    "transpose": transposed,
    "bytes": lambda: transposed(256, "i8"),
    "gather": gathered,
    "quantized": quantized,
    "halves": lambda: elementwise(lambda x: x.astype("f16").astype("f32") + 1.0),
}

# (setting, changed value, program, is the machine better for it?), from `default`, the program as it is
COSTS_TURNED = [
    ("external.burst_bytes", 64, "transpose", False),
    ("external.interleave_bytes", 64, "transpose", False),
    ("external.row_bytes", 0, "gather", True),
    ("external.banks", 4, "gather", False),
    ("external.bank_groups", 1, "gather", True),
    ("external.bank_stride_bytes", 32, "gather", False),
    ("external.queue_bytes", 128, "gather", False),
    ("external.activate_interval", 40, "gather", False),
    ("external.row_cycle", 400, "gather", False),
    ("external.row_miss", 4000, "gather", False),
    ("external.read_to_write", 500, "relu", False),
    ("external.write_to_read", 500, "relu", False),
    ("external.refresh_interval", 500, "relu", False),
    ("external.refresh_cycles", 4000, "relu", False),
    ("dma.setup", 200, "relu", False),
    ("dma.run_cycles", 100, "columns", False),
    ("dma.outstanding", 2, "relu", False),
    ("dma.request_bytes", 4, "relu", False),
    ("l3.latency", 100, "small", False),
    ("l3.tile_bytes_per_cycle", 4, "relu", False),
    ("mover.setup", 100, "relu", False),
    ("mover.run_cycles", 100, "transpose", False),
    ("mover.word_bytes", 256, "columns", False),
    ("mover.transpose_elements", 1, "bytes", False),
    ("l2.latency", 100, "rows", False),
    ("l2.banks", 1, "small", False),
    ("l2.bank_bytes_per_cycle", 2, "relu", False),
    ("l1.latency", 100, "small", False),
    ("streamer.convert_elements", 4, "weights", False),
    ("streamer.converts", "false", "weights", False),
    ("vector.latency.simple", 100, "rows", False),
    ("vector.latency.special", 100, "rows", False),
    ("vector.latency.divide", 100, "rows", False),
    ("vector.latency.cast", 1000, "halves", False),
    ("vector.initiation_interval.cast", 20, "halves", False),
    ("vector.initiation_interval.requantize", 20, "quantized", False),
    ("vector.latency.requantize", 1000, "quantized", False),
    ("vector.issue", 100, "rows", False),
    ("vector.bytes_per_cycle", 8, "relu", False),
    ("control.issue", 50, "small", False),
    ("control.sync", 100, "small", False),
    ("control.memory_bytes", 64, "small", False),
    ("control.instruction_bytes", 4096, "small", False),
]


@pytest.mark.parametrize(("setting", "value", "program", "better"), COSTS_TURNED)
def test_a_cost_changes_cycles(setting, value, program, better):
    module = lower(PROGRAMS[program](), HONEST, Options(search="none"))["dma"]
    changed = HONEST.with_settings({setting: value})
    before, after = (time_program(load_program(module, m)).cycles for m in (HONEST, changed))
    assert after < before if better else after > before


def with_banks(level: str, count: int) -> Machine:
    """As many banks, of the same bytes together."""
    part, size = ("tiles", "tile_bytes") if level == "l3" else ("banks", "bank_bytes")
    whole = getattr(HONEST, level).bytes
    return HONEST.with_settings({f"{level}.{part}": count, f"{level}.{size}": whole // count})


@pytest.mark.parametrize("program", ["relu", "small", "gelu", "transpose"])
def test_banks_count_as_long_as_accesses_collide(program):
    """1, 2, 4, ... banks of the same capacity: more are never slower, and more than engines ask for are
    as good as any number."""
    module = lower(PROGRAMS[program](), HONEST, Options(search="none"))["dma"]
    for level, asked in (("l2", 64 + 128 + 192), ("l3", 32 + 64)):
        cycles = {}
        for count in (1, 2, 4, 8, 16, 32, 64):
            machine = with_banks(level, count)
            cycles[count] = time_program(load_program(module, machine)).cycles
            stepped = time_program(load_program(module, machine), fast_forward=False)
            assert stepped.cycles == cycles[count]
        enough = [n for n in cycles if 64 * n >= asked]
        assert len({cycles[n] for n in enough}) == 1
        assert cycles[1] > cycles[enough[0]]
        assert list(cycles.values()) == sorted(cycles.values(), reverse=True)


@pytest.mark.parametrize(
    ("setting", "value", "program"),
    [("l1.buffer_bytes", 512, "deep"), ("l1.buffers", 1, "deep")],
)
def test_less_l1_streams_more(setting, value, program):
    module = PROGRAMS[program]()
    machine = BASE.with_settings([f"{setting}={value}"])
    assert timed(module, machine).counts["l1.write"] > timed(module, BASE).counts["l1.write"]


def least_bytes(machine):
    """External bytes of the best schedule for them."""
    outlined = product(1024, 1024, 1024)
    KernelOutlinePass().apply(None, outlined)
    func = next(f for f in outlined.ops if f.sym_name.data != "main")
    cut = recognise(func)
    schedule = Search(machine, "bytes", "quick", Cache(Path("/nonexistent/cache"))).search(
        func, cut
    )
    return time_schedule(func, cut, schedule, machine).external_bytes


@pytest.fixture(scope="module")
def base_bytes():
    return least_bytes(BASE)


@pytest.mark.parametrize(
    "setting", ["l3.tiles=1", "l3.tile_bytes=32768", "l2.banks=2", "l2.bank_bytes=16384"]
)
def test_less_memory_moves_more(setting, base_bytes):
    """A smaller memory forces smaller tiles, so that operands come more often."""
    assert least_bytes(BASE.with_settings([setting])) > base_bytes


def test_external_memory_has_an_end():
    with pytest.raises(KpuError, match="external memory"):
        timed(product(), BASE.with_settings(["external.bytes=600000"]))


def test_the_clock_changes_seconds_only():
    fast = BASE.with_settings(["clock_hz=4e9"])
    cycles = timed(product(), fast).cycles
    assert cycles == timed(product(), BASE).cycles
    assert fast.seconds(cycles) == BASE.seconds(cycles) / 2


@pytest.mark.parametrize(
    "setting",
    ["external", "activation", "l3", "l2", "l1", "vector", "vector.multiply", "mac.f32", "refresh",
     "background", "convert"],
)  # fmt: skip
def test_the_energy_table_changes_energy(setting):
    timing = timed(PROGRAMS["weights" if setting == "convert" else "gelu"](), HONEST)
    dear = HONEST.with_settings([f"energy.{setting}=100000.0"])
    before, after = (energy(timing.counts, m, timing.cycles) for m in (HONEST, dear))
    assert after.total > before.total


def test_a_number_is_the_energy_of_each_class():
    """As a machine's file could say it before there were classes."""
    assert set(HONEST.with_settings(["energy.vector=0.8"]).energy.vector.values()) == {0.8}
    assert HONEST.with_settings({"energy.vector": {"special": 9}}).energy.vector["tanh"] == 9.0


def test_memory_that_stands_by_needs_its_watts():
    """36 mW a channel, and 16.2 nJ every 3.906 us."""
    one_second = energy({}, HONEST, round(HONEST.clock_hz)).parts
    assert one_second["background"] == pytest.approx(4 * 0.036e12)
    assert one_second["refresh"] == pytest.approx(4 * 16.2e3 / 3.906e-6)
    assert not any(energy({}, BASE, 10**9).parts.values())


LARGER = (
    "fabric.rows=32", "fabric.columns=32", "fabric.macs.f32=4", "vector.lanes=32",
    "vector.initiation_interval.special=1", "vector.initiation_interval.divide=1", "dma.channels=8",
    "dma.bytes_per_cycle=16", "l3.tiles=8", "l3.tile_bytes=262144", "mover.channels=8",
    "mover.bytes_per_cycle=32", "l2.banks=16", "l2.bank_bytes=131072",
    "streamer.bytes_per_cycle=256", "l1.buffers=8", "l1.buffer_bytes=65536", "area.process_nm=28",
    *(f"area.{part}=1.0" for part in (
        "mac.f16", "accumulator", "lane", "special", "bank", "l3", "l2", "l1", "dma", "phy", "mover",
        "streamer", "control",
    )),
)  # fmt: skip
"""More of each part, or a larger one of it."""


@pytest.mark.parametrize("setting", LARGER)
def test_more_of_a_part_takes_more_area(setting):
    assert area(BASE.with_settings([setting])).total > area(BASE).total


def test_area_is_the_sum_of_its_parts_and_leaks():
    parts = area(BASE).parts
    assert all(part > 0 for part in parts.values())
    assert leakage_watts(BASE.with_settings(["area.leakage=0.04"])) == 2 * leakage_watts(BASE)
    assert area(BASE.with_settings(["fabric.chained=false"])).total < area(BASE).total
    with pytest.raises(KpuError, match="process_nm"):
        BASE.with_settings(["area.process_nm=1"])


@drawing(40)
@given(st.floats(3, 130), st.floats(3, 130))
def test_an_older_process_is_never_smaller(a, b):
    first, second = (area(BASE.with_settings({"area.process_nm": nm})).total for nm in (a, b))
    assert first <= second or a > b


def test_every_number_of_the_machine_is_turned_above():
    turned = {s for s, *_ in (*CYCLES, *COSTS_TURNED)} | {
        "l1.buffers",
        "l1.buffer_bytes",
        "l3.tiles",
        "l3.tile_bytes",
        "l2.banks",
        "l2.bank_bytes",
        "external.bytes",
        "clock_hz",
        "host.bytes_per_cycle",  # test/runtime/test_time.py
        "host.latency",
    }
    turned.add("vector.table_segments")  # it changes values: test/sim/test_tables.py
    turned |= {s.partition("=")[0] for s in LARGER} | {"area.leakage", "area.mac.f32"}
    turned |= {
        f"{table}.{name}"
        for table in ("vector.initiation_interval", "vector.latency", "energy.vector")
        for group, names in GROUPS.items()
        for name in names
        if f"{table}.{group}" in turned
    }
    turned |= {
        f"energy.{s}"
        for s in (
            "external",
            "activation",
            "refresh",
            "background",
            "l3",
            "l2",
            "l1",
            "mac.f32",
            "convert",
        )
    } | {f"energy.vector.{name}" for name in CLASSES}

    def leaves(value, path=""):
        if dataclasses.is_dataclass(value):
            for f in dataclasses.fields(value):
                yield from leaves(getattr(value, f.name), f"{path}{f.name}.")
        elif isinstance(value, dict):
            for key in value:
                yield f"{path}{key}"
        else:
            yield path.removesuffix(".")

    other_types = ("f16", "bf16", "f8", "i8", "i4")
    missing = {
        p for p in leaves(BASE) if p not in turned and p != "name" and not p.endswith(other_types)
    }
    assert not missing


WORSE = (
    "external.burst_bytes", "external.activate_interval", "external.row_cycle", "external.row_miss",
    "external.read_to_write", "external.write_to_read", "external.refresh_cycles", "dma.setup",
    "dma.run_cycles", "mover.setup", "mover.run_cycles", "mover.word_bytes", "l1.latency", "l2.latency",
    "l3.latency", "vector.issue", "control.issue", "control.sync",
)  # fmt: skip
"""Keys of which more is never better, for a program as it is."""


@pytest.mark.parametrize("program", ["columns", "gather", "gelu", "thin", "transpose"])
def test_more_of_a_cost_is_never_faster(program):
    module = lower(PROGRAMS[program](), HONEST, Options(search="none"))["dma"]
    before = time_program(load_program(module, HONEST)).cycles
    for key in WORSE:
        part, _, name = key.partition(".")
        more = 2 * getattr(getattr(HONEST, part), name)
        dear = HONEST.with_settings({key: more})
        assert time_program(load_program(module, dear)).cycles >= before, key
    for cost in HONEST.costs:
        spared = HONEST.without([cost])
        if cost != "interleaving":  # without it runs are dealt out as evenly as can be, or split
            assert time_program(load_program(module, spared)).cycles <= before, cost


BETTER = {
    "external.latency": (336, 224, 112, 56),
    "external.refresh_cycles": (1680, 840, 420, 0),
    "external.row_cycle": (488, 244, 122, 61),
    "external.banks": (4, 8, 16, 32),
    "dma.bytes_per_cycle": (4, 8, 12, 16),
    "dma.setup": (40, 20, 10, 0),
    "dma.run_cycles": (32, 16, 8, 0),
    "dma.outstanding": (16, 32, 64, 128),
    "l3.tile_bytes_per_cycle": (8, 16, 32, 64),
    "l3.latency": (8, 4, 2, 0),
    "mover.channels": (1, 2, 4, 8),
    "mover.bytes_per_cycle": (8, 10, 12, 16),
    "mover.transpose_elements": (4, 8, 16, 32),
    "l2.bank_bytes_per_cycle": (8, 16, 32, 64),
    "l2.latency": (8, 4, 2, 0),
    "streamer.bytes_per_cycle": (32, 64, 128, 256),
    "fabric.macs.f32": (1, 2, 4, 8),
    "vector.lanes": (8, 12, 16, 32),
    "vector.bytes_per_cycle": (48, 96, 192, 384),
    "vector.latency.simple": (16, 8, 4, 0),
    "control.issue": (8, 4, 2, 0),
    "control.sync": (40, 20, 10, 0),
    "control.memory_bytes": (64, 256, 1024, 16384),
}
"""From worse to better."""


@pytest.mark.parametrize("program", ["columns", "gather", "gelu", "thin", "transpose"])
def test_a_better_machine_is_never_slower_for_a_program_as_it_is(program):
    module = lower(PROGRAMS[program](), HONEST, Options(search="none"))["dma"]
    for key, values in BETTER.items():
        machines = [HONEST.with_settings({key: value}) for value in values]
        cycles = [time_program(load_program(module, machine)).cycles for machine in machines]
        assert cycles == sorted(cycles, reverse=True), (key, cycles)
