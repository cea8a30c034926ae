"""The three levels agree on every value, and both ways to time on every figure."""

import dataclasses

import numpy as np
import pytest
from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from kpu_ir import Graph, Machine
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.interpreters.tile import evaluate_tile
from kpu_ir.lowering.kernel_to_tile import recognise, schedule_of
from kpu_ir.lowering.schedule import ATTRIBUTE
from kpu_ir.pipeline import kernel_stages, lower
from kpu_ir.program.options import Options
from kpu_ir.scalar import formulas
from kpu_ir.sim.program.coverage import check_coverage
from kpu_ir.sim.program.plan import Fetch, Write
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.model import time_program, trace_program
from kpu_ir.sim.values.values import run_program
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.pinning import pin

MACHINES = {name: Machine.preset(name) for name in ("default", "minimal", "large", "ideal")}
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
DRAWS = drawing(25, suppress_health_check=SLOW)
FEW = drawing(8, suppress_health_check=SLOW)
EXTENT = st.one_of(
    st.integers(1, 40), st.integers(1, 300), st.sampled_from([1, 16, 17, 64, 256, 300])
)


def draw_graph(draw) -> Graph:
    """A small network: products with epilogues, elementwise functions with broadcasting,
    transpositions, reshapes."""
    g = Graph()
    m, k, n = draw(EXTENT), draw(EXTENT), draw(EXTENT)
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def constant(*shape: int):
        return g.constant(rng.standard_normal(shape).astype(np.float32))

    batch = draw(st.sampled_from([(), (), (2,), (3, 2)]))
    x = g.input("x", (*batch, m, k))
    kind = draw(
        st.sampled_from(["plain", "bias", "gelu", "residual", "chain", "map", "move", "pair"])
    )
    ta, tb = draw(st.booleans()), draw(st.booleans())
    if kind in ("map", "move"):
        y = x
    else:
        lhs = x.transpose((*range(len(batch)), len(batch) + 1, len(batch))) if ta else x
        rows, inner = (k, m) if ta else (m, k)
        own = batch if draw(st.booleans()) else ()
        # Sums of about 1, so that what rounding does to them is of the size of the tolerance.
        weights = rng.standard_normal((*own, n, inner) if tb else (*own, inner, n))
        w = g.constant((weights / np.sqrt(inner)).astype(np.float32))
        if tb:
            w = w.transpose((*range(len(own)), len(own) + 1, len(own)))
        y = lhs @ w
        m, k = rows, n
    if kind in ("bias", "gelu"):
        y = y + constant(k)
        y = y.gelu() if kind == "gelu" else y.relu()
    elif kind == "residual":
        y = (y * 2.0 + constant(*batch, m, k)).tanh()
    elif kind == "chain":
        y = (y.relu() @ constant(k, 33)) + constant(33)
    elif kind == "map":
        y = (y + constant(m, 1)) * constant(1, k) - y
    elif kind == "move":
        order = draw(st.permutations(range(len(batch) + 2)))
        y = y.transpose(tuple(order))
    elif kind == "pair":
        g.output("z", y.sigmoid())
        y = y.reshape((y.size,)) if hasattr(y, "size") else y
    g.output("y", y)
    return g


def with_drawn_schedules(draw, module, machine) -> None:
    """Give each product one of the schedules that the search may choose from."""
    for func in module.ops:
        if func.sym_name.data == "main":
            continue
        cut = recognise(func)
        space = cut.candidates(machine)
        always = cut.kind in ("attention", "back-to-back", "horizontal")
        if space and (always or draw(st.booleans())):
            chosen = space[draw(st.integers(0, len(space) - 1))].schedule
            chosen = dataclasses.replace(
                chosen,
                defer=draw(st.integers(0, 9)),
                depth=draw(st.sampled_from([1, chosen.depth])),
            )
            if cut.kind in ("attention", "back-to-back"):
                chosen = dataclasses.replace(chosen, **draw_blocks(draw, cut))
            elif cut.kind == "contraction":
                chosen = dataclasses.replace(
                    chosen, unroll_n=draw(st.integers(1, 4)), out_depth=draw(st.integers(1, 2))
                )
            elif cut.kind == "rows":
                tile = tuple(draw(st.integers(1, n)) for n in cut.full)
                cuts = sum(cut.extent(a, tile[a]) < cut.full[a] for a in cut.reduced)
                forms = ["", "online"] if cut.statistics and cuts else [""]
                layout = draw(st.sampled_from(["", "transposed"])) if cut.reduced else ""
                chosen = dataclasses.replace(
                    chosen, tile=tile, passes=draw(st.sampled_from(forms)), layout=layout
                )
            elif cut.kind == "scaled-blocks":  # the depth of the array, or less, is one pass
                b, _, n, k = cut.extents
                tile = draw(st.integers(1, b)), min(k, chosen.tile[1]), draw(st.integers(1, n))
                chosen = dataclasses.replace(chosen, tile=tile)
            elif cut.kind == "horizontal":
                tile = tuple(draw(st.integers(1, n)) for n in cut.extents)
                chosen = dataclasses.replace(chosen, tile=tile)
            func.attributes[ATTRIBUTE] = chosen.to_attr()


def draw_blocks(draw, cut) -> dict[str, object]:
    """Blocks that need not divide anything, small ones as well."""
    m, n, *more = cut.extents
    level = st.sampled_from(["", "l2", "l3"])
    if cut.kind == "attention":
        tile = (draw(st.integers(1, m)), draw(st.integers(1, n)))
        return {"tile": tile, "rhs": draw(level), "out_depth": draw(st.integers(1, 2))}
    divisors = [d for d in range(1, m + 1) if m % d == 0]
    rows = draw(st.integers(1, m))
    inside = draw(
        st.sampled_from([d for d in divisors if rows % d == 0 and m % rows == 0] or [rows])
    )
    tile = (rows, inside, *(draw(st.integers(1, e)) for e in (n, *more)))
    sums = draw(st.sampled_from(["l2", "l3"]))
    order = draw(st.sampled_from(["mn", "nm"]))
    return {"tile": tile, "lhs": draw(level), "rhs": sums, "order": order}


def lowered(draw, graph: Graph, machine: Machine, fuse: str = ""):
    """The module at ``kernel`` and ``tile``, and the program; None where a drawn schedule does not
    fit."""
    module = graph.module()
    source = module.clone()
    modes = [fuse] if fuse else ["none", "epilogue", "full"]
    for stage in kernel_stages(draw(st.sampled_from(modes))):
        stage.apply(None, module)
    with_drawn_schedules(draw, module, machine)
    if draw(st.booleans()):  # tensors between kernels in L3, wherever that can be

        def given_schedule(func, cut):
            return schedule_of(func, cut, machine)

        pin(module, machine, given_schedule, "cycles", lambda new, old, objective: True)
    stages = lower(module, machine, Options(search="none"))
    return source, stages["tile"], load_program(stages["dma"], machine)


def check_time(program, whole: bool = True) -> None:
    """Closed equals stepped in every figure; nothing is faster than it can be; each engine's parts
    add up."""
    closed, stepped = time_program(program), time_program(program, fast_forward=False)
    for field in dataclasses.fields(closed):
        if field.name != "stepped":
            assert getattr(closed, field.name) == getattr(stepped, field.name), field.name
    machine, counts = program.machine, stepped.counts
    for engine, busy in stepped.busy.items():
        waits = sum(stepped.stalls[engine].values())
        total = busy + waits + stepped.idle_before[engine] + stepped.idle_after[engine]
        assert total == stepped.cycles, engine
    macs = counts.get("macs.f32", 0)
    assert stepped.cycles * machine.peak_macs() >= macs
    external = counts.get("external.read", 0) + counts.get("external.write", 0)
    assert stepped.cycles * machine.bandwidth["dma"] >= external
    moved = counts.get("l3.read", 0) + counts.get("l3.write", 0) - external
    assert stepped.cycles * machine.bandwidth["mover"] >= moved
    assert stepped.cycles * machine.bandwidth["streamer"] >= counts.get("l1.write", 0)
    used = {a for call in program.calls for a in call.arguments}
    ends = {p.buffer for p in (*program.inputs, *program.outputs)}
    compulsory = sum(
        b.bytes
        for b in program.buffers
        if b.index in used and (b.kind == "constant" or b.index in ends)
    )
    # A window with strides, a slice or a gather need not read all of its operand.
    assert external >= compulsory or not whole


def check_residents(program) -> None:
    """From its first write to its last read, a tensor in L3 has its bytes for itself."""
    near = {b.index: b for b in program.buffers if b.level == "l3"}
    if not near:
        return
    model, _ = trace_program(program)
    places = {
        slot: ring.address + i * ring.slot_bytes
        for plan in program.plans
        for ring in plan.rings
        if ring.level == "l3"
        for i, slot in enumerate(model.places.rings[ring.index])
    }
    sizes = {
        slot: ring.slot_bytes
        for plan in program.plans
        for ring in plan.rings
        for slot in model.places.rings[ring.index]
    }
    uses: dict[int, list[tuple[int, int]]] = {b: [] for b in near}
    slots: list[tuple[int, int, int, int]] = []
    for event in model.events:
        step, _, held = model.operations[event.operation]
        end = event.start + held[0].end
        if isinstance(step, Fetch | Write) and step.pinned:
            buffer = program.calls[event.call].arguments[step.buffer]
            uses[buffer].append((event.start, end))
        slots += [(event.call, event.start, end, s) for s in event.slots if s in places]
    spans = program.lifetimes()
    for b, buffer in near.items():
        begin, end = min(u[0] for u in uses[b]), max(u[1] for u in uses[b])
        after = buffer.address + buffer.bytes
        for call, start, stop, slot in slots:
            if places[slot] < after and buffer.address < places[slot] + sizes[slot]:
                assert not spans[b][0] <= call <= spans[b][1]
                assert stop <= begin if call < spans[b][0] else start >= end
        for c, other in near.items():
            if c != b and other.address < after and buffer.address < other.address + other.bytes:
                first, last = min(u[0] for u in uses[c]), max(u[1] for u in uses[c])
                assert last <= begin or first >= end


def agree(draw, graph: Graph, machine: Machine, whole: bool = True, fuse: str = "") -> None:
    """Kernel, tile and dma give equal values; the program's time is consistent."""
    try:
        source, tiled, program = lowered(draw, graph, machine, fuse)
    except KpuError as e:
        if "need" not in e.message:  # a drawn schedule that does not fit says so, with both figures
            raise
        return
    check_coverage(program)
    rng = np.random.default_rng(0)
    inputs = {
        p.name: rng.standard_normal(tuple(p.type.get_shape())).astype(np.float32)
        for p in program.inputs
    }
    expected = evaluate(source, inputs)
    between = evaluate_tile(tiled, [inputs[p.name] for p in program.inputs])
    slots = list(run_program(program, inputs, stepped=True).values())
    got = list(run_program(program, inputs).values())
    for a, b, c, d in zip(expected, between, slots, got, strict=True):
        scale = max(1.0, float(np.abs(a).max()))
        for value in (b, c, d):
            np.testing.assert_allclose(value, a, rtol=0, atol=2e-5 * scale)
        np.testing.assert_allclose(c, b, rtol=0, atol=2e-6 * scale)  # the same tiles, in turn
    check_time(program, whole)
    check_residents(program)


@DRAWS
@given(st.data())
def test_values_and_time_agree(data):
    machine = MACHINES[data.draw(st.sampled_from(["default", "ideal", "minimal", "large"]))]
    agree(data.draw, draw_graph(data.draw), machine)


def draw_layer(draw) -> Graph:
    """One layer of a network, or a few that belong together."""
    g = Graph()
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def weights(*shape: int):
        fan = max(1, int(np.prod(shape[1:])))
        return g.constant((rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))

    small, side = st.integers(1, 12), st.integers(1, 20)
    kinds = [
        "conv",
        "conv",
        "depthwise",
        "pool",
        *["rows"] * 4,
        "move",
        "permute",
        "attention",
        "chain",
    ]
    kind = draw(st.sampled_from(kinds))
    n, c, h, w = draw(st.integers(1, 2)), draw(small), draw(side), draw(side)
    if kind in ("conv", "depthwise", "pool"):
        x = g.input("x", (n, c, h, w))
        kernel = [draw(st.integers(1, 4)) for _ in "yx"]
        dilations = [draw(st.integers(1, 2)) for _ in "yx"]
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
        low = [draw(st.integers(0, k - 1)) for k in kernel]
        high = [
            max(s - e - a, draw(st.integers(0, k - 1)))
            for s, e, a, k in zip(spans, (h, w), low, kernel)
        ]
        strides = [draw(st.integers(1, 3)) for _ in "yx"]
        given = {"strides": strides, "dilations": dilations, "low": low, "high": high}
        if kind == "pool":
            y = g.pool(draw(st.sampled_from(["max", "add"])), x, kernel, **given)
        else:
            divisors = [d for d in range(1, c + 1) if c % d == 0]
            groups = c if kind == "depthwise" else draw(st.sampled_from(divisors))
            out = c if kind == "depthwise" else groups * draw(st.integers(1, 9))
            y = g.conv(x, weights(out, c // groups, *kernel), groups=groups, **given)
            if draw(st.booleans()):
                y = (y + g.reshape(weights(out), (1, -1, 1, 1))).relu()
        # A maximum over nothing but padding is -inf: kept out of the comparison.
        g.output("y", g.map(lambda v: formulas.maximum(v, -1e3), y))
        return g
    if kind == "chain":
        m, d, hidden, e = draw(side), draw(side), draw(st.integers(1, 40)), draw(side)
        y = g.input("x", (m, d)) @ weights(d, hidden)
        y = (y + weights(1, hidden)).gelu() if draw(st.booleans()) else y
        y = y @ weights(hidden, e)
        g.output("y", y + weights(m, e) if draw(st.booleans()) else y)
        return g
    if kind == "permute":
        shape = draw(st.lists(st.integers(1, 7), min_size=3, max_size=7))
        order = draw(st.permutations(range(len(shape))))
        g.output("y", g.input("x", tuple(shape)).transpose(tuple(order)))
        return g
    if kind == "attention":
        heads, share = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        s, t, d = draw(side), draw(side), draw(small)
        q = g.input("q", (n, heads * share, s, d))
        k, v = g.input("k", (n, heads, t, d)), g.input("v", (n, heads, t, d))
        g.output("y", g.attention(q, k, v, causal=s == t and draw(st.booleans())))
        return g
    shape = (n, c, h, w)[draw(st.integers(0, 2)) :]
    x = g.input("x", shape)
    axis = draw(st.integers(0, len(shape) - 1))
    if kind == "rows":
        kinds = "softmax log layer rms add max mean sumexp place first scan times".split()
        what = draw(st.sampled_from(kinds))
        axes = sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
        if draw(st.booleans()):  # what stands before it, in the same program
            x = x * 0.5 + weights(shape[-1])
        if what in ("softmax", "log"):
            y = g.softmax(x, axis, what == "log")
        elif what in ("layer", "rms"):
            affine = {"scale": weights(shape[-1]), "shift": weights(shape[-1])}
            y = g.normalize(x, axes, epsilon=1e-2, center=what == "layer", **affine)
        elif what == "mean":
            y = g.mean(x * x, axes)
        elif what == "sumexp":
            m = g.reduce("max", x, axes)
            y = g.reduce("add", g.map(lambda a, m: formulas.exp(a - m), x, m), axes)
        elif what == "place":
            y = g.arg_reduce(draw(st.sampled_from(["max", "min"])), x, axis, draw(st.booleans()))
        elif what in ("scan", "times"):
            back, exclusive = draw(st.booleans()), draw(st.booleans())
            y = g.scan("mul" if what == "times" else "add", x, axis, back, exclusive)
        elif what == "first":
            k, smallest = draw(st.integers(1, shape[axis])), draw(st.booleans())
            y, places = g.top_k(x, k, axis, smallest)
            g.output("places", places)
        else:
            y = g.reduce(what, x, axes)
        if y.dtype.kind == "f" and draw(st.booleans()):
            y = y.tanh()
    else:
        y = draw_movement(draw, g, x, axis, weights, rng)
    g.output("y", y)
    return g


def draw_movement(draw, g: Graph, x, axis: int, weights, rng):
    """What only copies."""
    shape, small = x.shape, st.integers(1, 12)
    what = draw(st.sampled_from(["slice", "concat", "pad", "broadcast", "gather"]))
    if what == "slice":
        chosen = [
            range(e)[draw(st.integers(0, e - 1)) :: draw(st.sampled_from([1, 1, 2, 3]))]
            for e in shape
        ]
        return g.slice(
            x, [r[0] for r in chosen], [r.step for r in chosen], [len(r) for r in chosen]
        )
    if what == "concat":
        other = [draw(small) if a == axis else e for a, e in enumerate(shape)]
        more = [x] * draw(st.sampled_from([0, 0, 40]))
        return g.concat([x, weights(*other), x, *more], axis)
    if what == "pad":
        low, high = ([draw(st.integers(0, 3)) for _ in shape] for _ in "lh")
        return g.pad(x, low, high, draw(st.sampled_from([0.0, 1.5])))
    if what == "broadcast":
        ones = [1 if draw(st.booleans()) else e for e in shape]
        part = g.slice(x, [0] * len(ones), [1] * len(ones), ones)
        return g.broadcast(part, (draw(small), *shape))
    indices = rng.integers(-shape[axis], shape[axis], (draw(small), 2))
    return g.gather(x, g.constant(indices), axis)


def draw_chain(draw) -> Graph:
    """Two products, one after the other, or an attention with what stands around it in a network."""
    g = Graph()
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def weights(*shape: int):
        return g.constant(rng.standard_normal(shape).astype(np.float32) / 4)

    few, side, yes = st.integers(1, 3), st.integers(1, 40), st.booleans()
    if draw(st.integers(0, 3)) == 0:
        m, d, e = (draw(side) for _ in range(3))
        x = g.input("x", (m, d))
        for name in "qkv"[: draw(st.integers(2, 3))]:
            y = x @ weights(d, e)
            g.output(name, (y + weights(1, e)).relu() if draw(yes) else y)
        return g
    if draw(yes):
        m, d, hidden, e = (draw(side) for _ in range(4))
        y = g.input("x", (m, d)) @ weights(d, hidden)
        y = (y + weights(1, hidden)).gelu() if draw(yes) else y
        y = y @ weights(hidden, e)
        g.output("y", y + weights(m, e) if draw(yes) else y)
        return g
    batch, heads, s, t, d = draw(few), draw(few), draw(side), draw(side), draw(st.integers(1, 9))
    if draw(yes):
        share = draw(few)
        q = g.input("q", (batch, heads * share, s, d))
        k, v = g.input("k", (batch, heads, t, d)), g.input("v", (batch, heads, t, 3))
        mask = None
        if draw(yes):
            shape = (draw(st.sampled_from([1, batch])), draw(st.sampled_from([1, heads * share])))
            seen = rng.random((*shape, draw(st.sampled_from([1, s])), t)) < 0.7
            mask = g.constant(np.where(seen, 0, -np.inf).astype(np.float32))
        g.output("y", g.attention(q, k, v, mask=mask, causal=s == t and draw(yes)))
        return g
    # As a network has it: heads beside each other, in the order in which projections make them.
    q, k = g.input("q", (batch, s, heads, d)), g.input("k", (batch, t, heads, d))
    v = g.input("v", (batch, t, heads, d))
    scores = q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) * 0.5
    if draw(yes):
        scores = scores + weights(batch, 1, 1, t)
    y = (scores.softmax(-1) @ v.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    g.output("y", y.reshape(batch, s, heads * d))
    return g


@FEW
@given(st.data())
def test_chains_agree(data):
    """What is kept on chip between products, in blocks of every size."""
    machine = MACHINES[data.draw(st.sampled_from(["default", "ideal", "minimal", "large"]))]
    agree(data.draw, draw_chain(data.draw), machine, fuse="full")


@DRAWS
@given(st.data())
def test_layers_agree(data):
    machine = MACHINES[data.draw(st.sampled_from(["default", "ideal", "minimal", "large"]))]
    agree(data.draw, draw_layer(data.draw), machine, whole=False)


@pytest.mark.parametrize(
    "shape", [(512, 512, 512), (1000, 1000, 1000), (384, 2048, 96), (1, 4096, 512)]
)
def test_large_products_are_timed_alike(shape):
    m, k, n = shape
    g = Graph()
    g.output("y", g.input("x", (m, k)) @ g.input("w", (k, n)))
    module = lower(g.module(), MACHINES["default"], Options(search="none"))["dma"]
    check_time(load_program(module, MACHINES["default"]))
