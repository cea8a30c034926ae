"""Sums are kept in 32 bits until they leave: what a program computes does not depend on its schedule.

Drawn kernels in drawn types by drawn schedules; each in both models of values, and at the tile level.
"""

import numpy as np
import pytest
from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import kpu_ir
from kpu_ir import Graph, Schedule
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.interpreters.tile import evaluate_tile
from kpu_ir.pipeline import kernel_stages
from kpu_ir.scalar import formulas
from kpu_ir.sim.time.model import time_program
from kpu_ir.sim.values.values import run_program
from kpu_ir.support.types import accumulator_type, dtype_of, element_type_named

from ..lowering.test_kernel_plan import KINDS
from .scheduled import lowered

DRAWS = drawing(20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FLOATS = ("f16", "bf16", "f16", "bf16", "f32", "f8E4M3FN")
ROUNDED = {"attention": 3, "chain": 3, "norm by hand": 6}
"""Kernels between whose products, or that between kernels, have short floats: how many tensors are
rounded (mean, difference, square, mean, root and quotient of a norm by hand)."""


def steps(x, dtype):
    """The distance of the numbers of a type around ``x``."""
    import ml_dtypes

    info = ml_dtypes.finfo(dtype)
    least = float(info.smallest_normal)
    return 2.0 ** np.floor(np.log2(np.maximum(np.abs(x), least))) * float(info.eps)


def draw_kernel(draw) -> tuple[str, Graph]:
    """A kernel (two of them for elementary norms), in a type."""
    g = Graph()
    names = "product biased convolution depthwise pooling sum mean norm softmax".split()
    kind = draw(st.sampled_from([*names, "columns", "siblings", *sorted(ROUNDED)]))
    whole = kind in ("product", "convolution", "depthwise", "sum") and draw(st.booleans())
    name = draw(st.sampled_from(("i8", "i16") if whole else FLOATS[: 4 + 2 * (kind != "norm")]))
    if name.startswith("f8") and kind not in ("product", "convolution", "sum"):
        name = "f16"
    dtype, rng = dtype_of(element_type_named(name)), np.random.default_rng(draw(st.integers(0, 99)))

    def weights(*shape: int):
        if whole:
            return g.constant(rng.integers(-9, 10, shape).astype(dtype))
        return g.constant((rng.standard_normal(shape) / np.sqrt(shape[0])).astype(dtype))

    few, side, long = st.integers(1, 3), st.integers(1, 40), st.integers(1, 300)
    wide = accumulator_type(element_type_named(name)) if whole and draw(st.booleans()) else None
    if kind in ("product", "biased", "chain", "siblings"):
        m, k, n = draw(side), draw(long), draw(side)
        batch = (draw(few),) if kind == "product" and draw(st.booleans()) else ()
        x = g.input("x", (*batch, m, k), name)
        if kind == "siblings":
            for out in "pqr"[: draw(st.integers(2, 3))]:
                g.output(out, x @ weights(k, n))
            return kind, g
        y = g.matmul(x, weights(k, n), dtype=wide)
        if kind == "biased":
            y = (y + weights(1, n)).gelu()
        elif kind == "chain":
            y = y.relu() @ weights(n, draw(side))
    elif kind in ("convolution", "depthwise", "pooling"):
        c, h, w = draw(st.integers(1, 20)), draw(st.integers(3, 12)), draw(st.integers(3, 12))
        x, s = g.input("x", (1, c, h, w), name), draw(st.integers(1, 2))
        if kind == "pooling":
            y = g.average_pool(x, (3, 3), strides=(s, s), low=(1, 1), high=(1, 1))
        else:
            groups = c if kind == "depthwise" else draw(st.sampled_from([1, c]))
            share = c // groups
            w = weights(groups * draw(st.integers(1, 5)) if kind != "depthwise" else c, share, 3, 3)
            given = {"strides": (s, s), "low": (1, 1), "high": (1, 1), "element_type": wide}
            y = g.conv(x, w, groups=groups, **given)
    elif kind == "attention":
        heads, s, t, d = draw(few), draw(side), draw(side), draw(st.integers(1, 9))
        q, k = g.input("q", (1, heads, s, d), name), g.input("k", (1, heads, t, d), name)
        y = g.attention(q, k, g.input("v", (1, heads, t, 3), name))
    else:
        rows, n = draw(side), draw(long)
        x = g.input("x", (rows, n), name)
        if kind in ("sum", "mean", "columns"):
            axes = [0] if kind == "columns" else draw(st.sampled_from([[1], [0, 1]]))
            y = g.mean(x, axes) if kind == "mean" else g.reduce("add", x, axes)
        elif kind == "softmax":
            y = g.softmax(x, draw(st.integers(0, 1)), draw(st.booleans()))
        elif kind == "norm":
            y = g.normalize(x, [1], 1e-3, weights(n), weights(n), draw(st.booleans()))
        else:
            d = x - g.mean(x, [1])
            y = d / g.map(lambda v: formulas.sqrt(v + 1e-3), g.mean(d * d, [1]))
    g.output("y", y)
    return kind, g


def drawn_inputs(program):
    rng, found = np.random.default_rng(0), {}
    for port in program.inputs:
        shape, dtype = tuple(port.type.get_shape()), dtype_of(port.type.element_type)
        whole = dtype.kind in "iu"
        values = rng.integers(-9, 10, shape) if whole else rng.standard_normal(shape)
        found[port.name] = values.astype(dtype)
    return found


@DRAWS
@given(st.data())
def test_values_do_not_depend_on_the_schedule(data):
    """Within one step of the type of what is exact, and of each other; integers are equal."""
    draw = data.draw
    kind, graph = draw_kernel(draw)
    machine = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    module = graph.module()
    # A value between two kernels is rounded: what is not one kernel has another value.
    for stage in kernel_stages(
        "full" if kind in ROUNDED else draw(st.sampled_from(["epilogue", "full"]))
    ):
        stage.apply(None, module)
    found: list[list[np.ndarray]] = []
    inputs = {}
    for drawn in (False, True):
        made = lowered(draw, module.clone(), machine, drawn)
        if made is None:
            continue
        levels, program = made
        inputs = inputs or drawn_inputs(program)
        found.append(list(run_program(program, inputs).values()))
        found.append(list(run_program(program, inputs, stepped=True).values()))
        found.append(evaluate_tile(levels["tile"], [inputs[p.name] for p in program.inputs]))
    if not found:
        return
    exact = evaluate(graph.module(), inputs, precision=np.float64)
    # The reference rounds every tensor of the model; several kernels, those between them.
    reference = evaluate(module, inputs)
    kernels = sum(func.sym_name.data != "main" for func in module.ops)
    for results in (*found, reference):
        for y, e, first in zip(results, exact, found[0], strict=True):
            if y.dtype.kind in "iu":
                assert np.array_equal(y, first)
                assert np.array_equal(y, e.astype(y.dtype))
                continue
            size = max(1e-3, float(np.abs(e).max()))
            if kind == "attention":  # each weight is rounded, whatever cancels in their sum
                size = max(size, float(np.abs(inputs["v"]).max()))
            apart = 3 if kind in ROUNDED or kernels > 1 or results is reference else 1
            several = max(apart, ROUNDED.get(kind, 1))
            around = np.maximum(np.abs(e), size / 2 if several > 1 else 0)
            step = 0 if y.dtype.itemsize >= 4 else steps(around, y.dtype)
            rounding = 2e-5 * size  # of 32 bits
            one, other = y.astype(np.float64), first.astype(np.float64)
            assert (np.abs(one - e) <= several * step * 0.501 + rounding).all(), kind
            assert (np.abs(one - other) <= apart * step + rounding).all(), kind


PIECES = [(16, 16, 2048), (32, 32, 32), (16, 16, 48)]


@pytest.mark.parametrize(("kind", "dataflow"), [("f16", "os"), ("bf16", "ws"), ("f16", "is")])
def test_a_sum_that_passes_what_its_type_holds(kind, dataflow):
    """Partial sums of 3.3 million; the sum is 40."""
    dtype = dtype_of(element_type_named(kind))
    w = np.full((2048, 40), 40, dtype)
    w[1024:] = -40
    w[0] = 41
    g = Graph()
    g.output("y", g.input("x", (33, 2048), kind) @ g.constant(w))
    for tile in PIECES:
        schedule = Schedule(tile=tile, dataflow=dataflow)
        compiled = kpu_ir.compile(g, search="none", fuse="none", schedule=schedule)
        y = compiled(x=np.full((33, 2048), 40, dtype))["y"]
        assert (y == 40).all()


def test_sums_take_their_room_and_results_leave_short():
    """L2 has a tile of f32 sums beside the ring of f16 results; external memory sees f16 only."""
    g = Graph()
    g.output("y", g.input("x", (64, 512), "f16") @ g.input("w", (512, 64), "f16"))
    schedule = Schedule(tile=(32, 32, 64), out_depth=2)
    program = kpu_ir.compile(g, search="none", fuse="none", schedule=schedule).program
    (plan,) = program.plans
    rings = {r.name: (str(r.element), r.depth, r.slot_bytes) for r in plan.rings if r.level == "l2"}
    assert rings["acc"] == ("f16", 2, 2048)
    assert rings["sums"] == ("f32", 1, 4096)
    counts = time_program(program).counts
    assert counts["external.write"] == 64 * 64 * 2
    # Seven of eight products leave f32 sums, and read them; the last one leaves f16.
    operands = counts["l3.read"] - counts["external.write"]
    assert counts["l2.write"] - operands == 64 * 64 * (7 * 4 + 2)
