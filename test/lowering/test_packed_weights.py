"""Weights that stand packed in memory: panels as wide as a tile, each tile one run."""

import dataclasses

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError, compile
from kpu_ir.dialects import tile
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.registry import context

RANDOM = np.random.default_rng(0)


def whole(*shape: int):
    """Numbers of which sums are exact, in any order."""
    return np.rint(8 * RANDOM.standard_normal(shape)).astype(np.float32)


def product(m: int, k: int, n: int, kind=np.float32, layers: int = 1, transposed=False) -> Graph:
    """Products one after the other with weights of the same shape."""
    g = Graph()
    x = g.input("x", (m, k), kind)
    for _ in range(layers):
        w = whole(*((n, k) if transposed else (k, n))).astype(kind)
        x = g.matmul(x, g.constant(w), transpose_b=transposed)
        x = x if kind is np.float32 else g.cast(x, kind)
    g.output("y", x)
    return g


def outlined(g: Graph):
    module = g.module()
    KernelOutlinePass().apply(context(), module)
    return module


def constants(program, level="tile"):
    return [op for op in program.stages[level].walk() if isinstance(op, tile.ConstantOp)]


@pytest.mark.parametrize(
    ("transposed", "schedule"),
    [
        (False, Schedule(tile=(16, 32, 24))),
        (False, Schedule(tile=(16, 32, 24), order="nm", rhs="l3")),
        (False, Schedule(tile=(16, 16, 24), unroll_n=3, out_depth=1)),
        (False, Schedule(tile=(7, 48, 96), dataflow="ws")),
        (True, Schedule(tile=(16, 48, 32))),
        (True, Schedule(tile=(16, 24, 48), order="nm", rhs="l2")),
    ],
)
def test_values_and_loads(transposed: bool, schedule: Schedule) -> None:
    module = outlined(product(20, 96, 96, transposed=transposed))
    answers, timings = [], []
    x = whole(20, 96)
    for layout in ("", "packed"):
        trial = module.clone()
        (func,) = (op for op in trial.ops if op.sym_name.data != "main")
        func.attributes[ATTRIBUTE] = dataclasses.replace(schedule, layout=layout).to_attr()
        program = compile(trial, search="none")
        answers.append(program(x=x)["y"])
        timings.append(program.timing)
        # What was lowered by hand from here on is the same.
        again = compile(program.stages["tile"].clone())
        assert again.cycles == program.cycles
        assert again(x=x)["y"].tobytes() == answers[-1].tobytes()
    np.testing.assert_array_equal(answers[0], answers[1])
    plain, packed = timings
    assert packed.counts["external.read"] == plain.counts["external.read"]
    if min(schedule.tile) < 24 and schedule.unroll_n > 1:  # runs of 64 bytes
        assert packed.busy["dma"] < 0.9 * plain.busy["dma"]


def test_a_search_packs_where_that_pays_and_nowhere_on_an_ideal_machine(tmp_path) -> None:
    g = product(16, 256, 1024)
    plain, packed = compile(g, "ideal", cache=False), compile(g, "minimal", cache=False)
    assert [c.result.type.get_shape() for c in constants(plain)] == [(256, 1024)]
    (weights,) = constants(packed)
    rows, width = weights.result.type.get_shape()
    assert rows * width == 256 * 1024
    assert width < 1024
    saved = tmp_path / "packed.kpu"
    packed.save(saved)
    x = whole(16, 256)
    expected = plain(x=x)["y"]
    for program in (packed, kpu_ir.open(saved)):
        np.testing.assert_array_equal(program(x=x)["y"], expected)
    assert kpu_ir.open(saved).cycles == packed.cycles


def test_equal_layers_share_a_kernel_and_each_has_its_weights_packed() -> None:
    module = outlined(product(4, 64, 64, layers=3))
    (func,) = (op for op in module.ops if op.sym_name.data != "main")
    func.attributes[ATTRIBUTE] = Schedule(tile=(4, 16, 64), layout="packed").to_attr()
    program = compile(module, search="none")
    assert [c.result.type.get_shape() for c in constants(program)] == [(256, 16)] * 3
    x = RANDOM.standard_normal((4, 64)).astype(np.float32)
    other = outlined(product(4, 64, 64, layers=3))  # other weights: another answer
    assert not np.array_equal(program(x=x)["y"], compile(other, search="none")(x=x)["y"])


def test_weights_that_somebody_else_reads_stay_as_they_are() -> None:
    g = Graph()
    w = g.constant(RANDOM.standard_normal((64, 64)).astype(np.float32))
    x = g.input("x", (16, 64))
    g.output("y", g.matmul(x, w) + g.matmul(x, g.transpose(w, [1, 0])))
    module = outlined(g)
    for func in [op for op in module.ops if op.sym_name.data.startswith("matmul")]:
        assert "kpu.weights" not in func.attributes
        func.attributes[ATTRIBUTE] = Schedule(tile=(16, 16, 64), layout="packed").to_attr()
    with pytest.raises(KpuError, match="layout = 'packed' says nothing here"):
        compile(module, search="none")


def test_panels() -> None:
    from kpu_ir.lowering.kernel_to_tile.weights import packed_weights

    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    g = Graph()
    g.output("y", g.constant(values))
    value = next(op.value for op in g.module().walk() if op.name == "kernel.constant")
    packed = packed_weights(value, (4, 6), 2)
    assert packed.get_type().get_shape() == (12, 2)
    expected = values.reshape(4, 3, 2).transpose(1, 0, 2).reshape(12, 2)
    np.testing.assert_array_equal(
        np.frombuffer(packed.data.data, np.float32).reshape(12, 2), expected
    )
