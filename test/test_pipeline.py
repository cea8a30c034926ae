"""The compiler is one list of passes: ``kpu-opt`` and ``kpu_ir.compile`` give the same IR."""

from pathlib import Path

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph
from kpu_ir.frontends.read import read
from kpu_ir.pipeline import passes_for
from kpu_ir.program.options import Options
from kpu_ir.registry import context
from kpu_ir.text.printing import print_module
from kpu_ir.tools.opt import main

DIGITS = Path(__file__).parents[1] / "examples/digits_mlp.onnx"


def weights(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def feed_forward():
    g = Graph()
    h = (g.input("x", (32, 48)) @ g.constant(weights(48, 64))).relu()
    g.output("y", h @ g.constant(weights(64, 16)))
    return g.module()


def convolutions():
    g = Graph()
    x = g.conv(
        g.input("x", (1, 3, 12, 12)), g.constant(weights(8, 3, 3, 3)), low=(1, 1), high=(1, 1)
    )
    g.output("y", g.max_pool(x.relu(), (2, 2), strides=(2, 2)))
    return g.module()


def attention():
    g = Graph()
    q, k, v = (g.input(name, (2, 16, 8)) for name in "qkv")
    g.output("y", g.softmax(q @ k.transpose([0, 2, 1])) @ v)
    return g.module()


def chain():
    """Kernels whose tensors may stay in L3."""
    g = Graph()
    x = g.input("x", (16, 32))
    for _ in range(3):
        x = g.softmax(x @ g.constant(weights(32, 32)))
    g.output("y", x)
    return g.module()


MODELS = {
    "digits": lambda: read(DIGITS),
    "feed-forward": feed_forward,
    "convolutions": convolutions,
    "attention": attention,
    "chain": chain,
}


def spelled(steps):
    """Passes as ``-p`` takes them."""
    return ",".join(str(step.pipeline_pass_spec()) for step in steps)


@pytest.mark.parametrize("name", MODELS)
def test_kpu_opt_and_compile_give_the_same_ir(name, tmp_path, capsys):
    # One with its choices simulated; the list is the same.
    options = Options(search="quick" if name == "feed-forward" else "none")
    module = MODELS[name]()
    (tmp_path / "m.mlir").write_text(print_module(module, None))
    program = kpu_ir.compile(module, options=options)
    steps = passes_for(module, options)
    names = [step.name for step in steps]
    to_kernel = spelled(steps[: names.index("kernel-canonicalize") + 1]) + ",kernel-layers"
    to_tile = spelled(steps[: names.index("kernel-to-tile") + 1])
    for pipeline, level in (
        (to_kernel, "kernel"),
        (to_tile, "tile"),
        (f"compile{{search={options.search}}}", "dma"),
        (spelled(steps), "dma"),
    ):
        assert main([str(tmp_path / "m.mlir"), "-p", pipeline]) == 0
        assert capsys.readouterr().out.strip() == program.ir(level, None).strip(), level


def test_compile_goes_on_from_where_a_module_stands(tmp_path, capsys):
    program = kpu_ir.compile(feed_forward(), search="none")
    for level in ("tile", "dma"):
        (tmp_path / "m.mlir").write_text(program.ir(level, None))
        assert main([str(tmp_path / "m.mlir"), "-p", "compile"]) == 0
        assert capsys.readouterr().out.strip() == program.ir("dma", None).strip()


def test_each_pass_of_the_compiler_is_registered():
    from kpu_ir.registry import PASSES

    steps = passes_for(feed_forward(), Options())
    assert {step.name for step in steps} <= set(PASSES)
    assert context().registered_dialect_names
