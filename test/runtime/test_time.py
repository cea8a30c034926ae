"""The time of streams: that of one merged program, of copies that overlap, of orders and events."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from small_programs import compiled, elementwise, network, product

from kpu_ir import KpuError, Machine, Schedule, compile, runtime
from kpu_ir.registry import context
from kpu_ir.runtime.engines import TO_DEVICE, TO_HOST
from kpu_ir.runtime.link import copy_cycles
from kpu_ir.runtime.moves import LEAST, MOST
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.model import TimeModel
from kpu_ir.text.parsing import parse_module

MACHINES = {name: Machine.preset(name) for name in ("ideal", "default")}


def ready(device, program, stream, seed=0):
    """A program on a device, and buffers for all of its arguments, the inputs filled."""
    random = np.random.default_rng(seed)
    loaded = device.load(program, stream=stream)
    views = []
    for number, port in enumerate(loaded.ports):
        shape = tuple(port.type.get_shape())
        if number < len(loaded.program.inputs):
            values = random.standard_normal(shape).astype(np.float32)
            views.append(device.array(values, stream=stream))
        else:
            views.append(device.empty(shape, stream=stream))
    return loaded, views


def merged(programs, machine):
    """One program that calls all kernels of ``programs``, each in its share of the chip's memory."""
    buffers, plans, calls, rings = [], [], [], 0
    for share, compiled_program in enumerate(programs):
        program = load_program(compiled_program.stages["dma"], compiled_program.machine)
        begin = len(buffers)
        for plan in program.plans:
            for ring in plan.rings:
                ring.address += share * getattr(compiled_program.machine, ring.level).bytes
                ring.index += rings
        rings += sum(len(plan.rings) for plan in program.plans)
        renamed = {p.name: replace(p, name=f"{p.name}.{share}") for p in program.plans}
        plans += renamed.values()
        buffers += (replace(b, index=b.index + begin) for b in program.buffers)
        calls += (
            replace(c, plan=renamed[c.plan.name], arguments=tuple(a + begin for a in c.arguments))
            for c in program.calls
        )
    whole = load_program(programs[0].stages["dma"], machine)
    return replace(whole, buffers=tuple(buffers), plans=tuple(plans), calls=tuple(calls))


GRAPHS = [lambda: product(64, 64), lambda: product(48, 128), lambda: elementwise(4096), network]


@pytest.mark.parametrize("name", MACHINES)
@drawing(3)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=2), st.booleans())
def test_two_streams_take_no_more_than_one_kernel_behind_the_other(name, which, stepped):
    machine = MACHINES[name]
    device = runtime.Device(machine, shares=2, stepped=stepped)
    programs = [compiled(GRAPHS[i](), device.share_machine) for i in which]
    streams = [device.create_stream(share=i) for i in range(2)]
    loaded = [ready(device, p, s) for p, s in zip(programs, streams)]
    device.sync()
    began = device.now
    for stream, (program, views) in zip(streams, loaded):
        runtime.launch(stream, program, *views)
    device.sync()
    behind = TimeModel(merged(programs, machine), False).run().cycles
    assert device.now - began <= behind
    side_by_side = device.timeline.chosen[0] and device.now - began < behind
    assert side_by_side or device.now - began == behind
    together, began = device.now - began, device.now
    for stream, (program, views) in zip(streams, loaded):  # one after the other
        runtime.launch(stream, program, *views)
        stream.sync()
    assert together <= device.now - began


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("make", [product, elementwise, network])
def test_a_launch_on_an_idle_device_takes_the_programs_cycles(name, make):
    device = runtime.Device(MACHINES[name])
    stream = device.create_stream()
    program = compiled(make(), device.machine)
    loaded, views = ready(device, program, stream)
    took = []
    for _ in range(3):
        began = stream.record()
        runtime.launch(stream, loaded, *views)
        ended = stream.record()
        took.append(ended.cycles - began.cycles)
        assert ended - began == 1e3 * took[-1] / 2e9
    turn = device.machine.external.write_to_read
    assert took[0] == program.cycles
    assert all(program.cycles <= n <= program.cycles + turn for n in took[1:])
    stream.sync()
    inputs = {p.name: np.asarray(v) for p, v in zip(loaded.ports, views[:-1])}
    (expected,) = program.reference(inputs).values()
    np.testing.assert_allclose(np.asarray(views[-1]), expected, 1e-4, 1e-5)


MAPS = """
func.func @{name}({arguments}) {{
  dma.program {{
{rings}
    tile.for %i = 0 to 256 step 16 {{
{body}
    }}
  }}
  func.return
}}
"""
RINGS = """    dma.ring @x3{n}, 2 x <16x64xf32, l3> at {l3}
    dma.ring @x2{n}, 2 x <16x64xf32, l2> at {l2}
    dma.ring @y2{n}, 2 x <16x64xf32, l2> at {l2} + 8192
    dma.ring @y3{n}, 2 x <16x64xf32, l3> at {l3} + 8192"""
BODY = """      %x3{n} = dma.fetch %x{n}[%i, 0] into @x3{n} : memref<256x64xf32> -> !tile.tile<16x64xf32, l3>
      %x2{n} = dma.move %x3{n}[0, 0] into @x2{n} : !tile.tile<16x64xf32, l3> -> !tile.tile<16x64xf32, l2>
      %y2{n} = dma.acquire @y2{n} : !tile.tile<16x64xf32, l2>
      dma.map %x2{n} into %y2{n} : !tile.tile<16x64xf32, l2> -> !tile.tile<16x64xf32, l2> {{
      ^bb0(%e{n}: f32):
        %s{n} = math.{function} %e{n} : f32
        dma.yield %s{n} : f32
      }}
      %y3{n} = dma.move %y2{n}[0, 0] into @y3{n} : !tile.tile<16x64xf32, l2> -> !tile.tile<16x64xf32, l3>
      dma.write %y3{n}, %y{n}[%i, 0] : !tile.tile<16x64xf32, l3> -> memref<256x64xf32>"""


def maps(name, machine, *functions, shares=(0, 0)):
    """A dma program of as many kernels as there are functions, side by side in one loop."""
    rings, body, arguments = [], [], []
    for n, (function, share) in enumerate(zip(functions, shares)):
        l3, l2 = share * machine.l3.bytes, share * machine.l2.bytes
        text = RINGS.format(n=n, l3=l3, l2=l2)
        rings.append(re.sub(r"at (\d+) \+ (\d+)", lambda m: f"at {int(m[1]) + int(m[2])}", text))
        body.append(BODY.format(n=n, function=function))
        arguments += [f"%x{n}: memref<256x64xf32>", f"%y{n}: memref<256x64xf32>"]
    text = MAPS.format(
        name=name, arguments=", ".join(arguments), rings="\n".join(rings), body="\n".join(body)
    )
    return parse_module(text, name, context())


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("functions", [("tanh", "tanh"), ("absf", "tanh"), ("absf", "absf")])
def test_two_streams_take_what_one_dma_program_of_both_takes(name, functions):
    machine = MACHINES[name]
    device = runtime.Device(machine, shares=2)
    part = device.share_machine
    streams = [device.create_stream(share=i) for i in range(2)]
    loaded = [
        ready(device, compiled(maps(f, part, f), part), s) for f, s in zip(functions, streams)
    ]
    device.sync()
    began = device.now
    for stream, (program, views) in zip(streams, loaded):
        runtime.launch(stream, program, *views)
    device.sync()
    one = load_program(maps("both", part, *functions, shares=(0, 1)), machine)
    assert device.timeline.chosen == [2, 0, 0]  # the copies before it, too
    assert device.now - began == TimeModel(one, False).run().cycles


def test_a_kernel_of_the_array_and_one_of_the_memory_run_at_the_same_time():
    took = []
    for waits in (False, True):
        device = runtime.Device(shares=2)
        streams = [device.create_stream(share=i) for i in range(2)]
        part = device.share_machine
        tiles = Schedule.from_text("tile=128,128,64", "tiles")
        array = compile(product(256, 256), part, schedule=tiles, cache=False)
        programs = [array, compiled(elementwise(1 << 16), part)]
        loaded = [ready(device, p, s) for p, s in zip(programs, streams)]
        device.sync()
        began = device.now
        for stream, (program, views) in zip(streams, loaded):
            runtime.launch(stream, program, *views)
            if waits:
                device.sync()
        device.sync()
        took.append(device.now - began)
    cycles = [p.cycles for p in programs]
    assert took[0] <= took[1] / 1.2
    assert took[0] >= max(cycles)


def test_launches_in_one_stream_follow_each_other():
    device = runtime.Device("ideal")
    stream = device.create_stream()
    program = compiled(elementwise(), device.machine)
    loaded, views = ready(device, program, stream)
    stream.sync()
    began = device.now
    for _ in range(5):
        runtime.launch(stream, loaded, *views)
    stream.sync()
    assert device.now - began == 5 * program.cycles


def test_the_links_keys_are_what_a_copy_takes():
    data = np.zeros(1 << 16, np.uint8)
    for rate, latency in ((14, 1100), (7, 1100), (14, 0)):
        machine = MACHINES["ideal"].with_settings(
            {"host.bytes_per_cycle": rate, "host.latency": latency}
        )
        device = runtime.Device(machine)
        stream = device.create_stream()
        there = device.array(data, stream=stream)
        back = stream.record()
        assert back.cycles == -(-data.size // rate) + latency
        there.copy_to(np.empty_like(data), stream=stream)
        assert device.now == 2 * back.cycles
        assert device.counts["host.read"] == device.counts["host.write"] == data.size
        assert device.engines[TO_HOST].busy == copy_cycles(data.size, machine)


def test_a_copy_on_the_device_takes_external_memorys_bandwidth():
    device = runtime.Device("ideal")
    stream = device.create_stream()
    size = 1 << 20
    a, b = (
        device.empty((size,), "uint8", stream=stream),
        device.empty((size,), "uint8", stream=stream),
    )
    a.fill(3, stream=stream)
    began = stream.record()
    b.copy_from(a, stream=stream)
    took = stream.record().cycles - began.cycles
    least, waits = 2 * size // device.machine.bandwidth["dma"], device.machine.external.latency
    assert least <= took <= least + waits * (size // MOST)
    device.sync()
    assert (np.asarray(b) == 3).all()
    assert device.counts["external.read"] == size + LEAST
    assert device.counts["external.write"] == 2 * size


def overlapped(streams, trace=False):
    """Copy in, compute, copy out: 8 tiles of work on so many streams; copies take what computing does."""
    device = runtime.Device(trace=trace)
    program = compiled(product(256, 128), device.machine)
    compute = program.cycles
    size = (256 * 128 * 2, 256 * 256)
    rate = -(-4 * size[1] // (compute - 1))
    machine = device.machine.with_settings({"host.bytes_per_cycle": rate, "host.latency": 0})
    device = runtime.Device(machine, trace=trace)
    program = compiled(product(256, 128), machine)
    all_streams = [device.create_stream() for _ in range(streams)]
    loaded = device.load(program, stream=all_streams[0])
    host = [device.pinned((256, 128)), device.pinned((128, 256))]
    outs = [device.pinned((256, 256)) for _ in range(streams)]
    places = [
        [device.empty(p.type.get_shape(), stream=s) for p in loaded.ports] for s in all_streams
    ]
    device.sync()
    began = device.now
    for tile in range(8):
        i = tile % streams
        stream, (x, w, y) = all_streams[i], places[i]
        x.copy_from(host[0], stream=stream)
        w.copy_from(host[1], stream=stream)
        runtime.launch(stream, loaded, x, w, y)
        y.copy_to(outs[i], stream=stream)
    device.sync()
    return device, device.now - began, program.cycles


def test_copies_overlap_computing_on_two_streams(tmp_path):
    _, alone, compute = overlapped(1)
    device, both, _ = overlapped(2, trace=True)
    copies = [device.engines[name].busy / 8 for name in (TO_DEVICE, TO_HOST)]
    assert all(
        0.7 * compute <= c <= 1.05 * compute for c in copies
    )  # copies and computing are equal
    assert alone >= 1.6 * both
    device.save_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    slices = [e for e in events if e["ph"] == "X"]
    names = {
        e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == 2
    }

    def spans(chosen):
        return [(e["args"]["cycle"], e["args"]["cycle"] + e["args"]["cycles"]) for e in chosen]

    computing = spans(e for e in slices if e["pid"] == 1 and e["name"].startswith("launch"))
    copying = spans(e for e in slices if e["pid"] == 2 and names[e["tid"]] == TO_DEVICE)
    together = sum(max(0, min(e, z) - max(b, a)) for b, e in computing for a, z in copying)
    assert len(computing) == 8
    assert together >= 0.5 * sum(z - a for a, z in copying)
    slices = [(names[e["tid"]], 0, e["args"]["cycles"]) for e in slices if e["pid"] == 2]
    busy = {name: sum(n for other, _, n in slices if other == name) for name in names.values()}
    assert all(busy[name] == device.engines[name].busy for name in busy)


def test_priority_goes_first_and_events_hold_it_back():
    device = runtime.Device("ideal")
    low, high = device.create_stream(priority=1), device.create_stream(priority=0)
    program = compiled(elementwise(), device.machine)
    (loaded, first), (_, second) = ready(device, program, low), ready(device, program, low)
    device.sync()
    began = device.now
    runtime.launch(low, loaded, *first)
    runtime.launch(high, loaded, *second)
    assert high.record().cycles - began == program.cycles
    assert low.record().cycles > high.record().cycles
    device.sync()
    runtime.launch(low, loaded, *first)
    high.wait(low.record())
    runtime.launch(high, loaded, *second)
    assert high.record().cycles == low.record().cycles + program.cycles


@pytest.mark.parametrize("name", MACHINES)
def test_merged_is_never_worse_than_one_after_the_other(name):
    took = []
    for waits in (False, True):
        device = runtime.Device(MACHINES[name], shares=2)
        streams = [device.create_stream(priority=1 - i, share=i) for i in range(2)]
        program = compiled(product(), device.share_machine)
        loaded = [ready(device, program, s, i) for i, s in enumerate(streams)]
        device.sync()
        began = device.now
        for _ in range(4):
            for stream, (one, views) in zip(streams, loaded):
                runtime.launch(stream, one, *views)
                if waits:
                    device.sync()
        device.sync()
        took.append(device.now - began)
    assert took[0] <= took[1]


def test_more_of_the_chip_is_another_machine():
    device = runtime.Device(shares=2)
    with pytest.raises(KpuError, match="compiled for default, and a stream has"):
        device.load(compiled(product()), stream=device.create_stream())
