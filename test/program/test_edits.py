"""IR that was edited by hand is refused where it no longer computes what it did, or computes the same."""

import re
from collections.abc import Iterator

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError
from kpu_ir.program.against import compare_with
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.verify import check_module
from kpu_ir.registry import context
from kpu_ir.text.parsing import parse_module


def product() -> Graph:
    g = Graph()
    y = g.input("x", (48, 64)) @ g.input("w", (64, 48))
    g.output("y", (y + g.input("b", (48,))).relu())
    return g


def batched() -> Graph:
    g = Graph()
    g.output("y", g.input("x", (3, 32, 32)) @ g.input("w", (3, 32, 32)))
    return g


def convolved(groups: int = 1) -> Graph:
    g = Graph()
    x, w = g.input("x", (1, 8, 12, 12)), g.input("w", (16, 8 // groups, 3, 3))
    g.output("y", g.conv(x, w, strides=(2, 2), low=(1, 1), high=(1, 1), groups=groups))
    return g


def depthwise() -> Graph:
    g = Graph()
    x, w = g.input("x", (1, 16, 12, 12)), g.input("w", (16, 1, 3, 3))
    g.output("y", g.conv(x, w, low=(1, 1), high=(1, 1), groups=16))
    return g


def pooled() -> Graph:
    g = Graph()
    g.output("y", g.max_pool(g.input("x", (1, 32, 24, 24)), (2, 2), strides=(2, 2)))
    return g


def rows() -> Graph:
    g = Graph()
    g.output("y", g.input("x", (128, 96)).softmax(-1))
    return g


def summed() -> Graph:
    g = Graph()
    g.output("y", g.input("x", (64, 8192)).sum(-1))
    return g


def turned() -> Graph:
    g = Graph()
    g.output("y", g.input("x", (128, 128)).transpose((1, 0)))
    return g


def attention() -> Graph:
    g = Graph()
    q, k, v = (g.input(name, (2, 64, 16)) for name in "qkv")
    g.output("y", (((q @ k.transpose((0, 2, 1))) * 0.25).softmax(-1)) @ v)
    return g


def feed_forward() -> Graph:
    g = Graph()
    g.output("y", (g.input("x", (48, 48)) @ g.input("w", (48, 96))).relu() @ g.input("v", (96, 48)))
    return g


GRAPHS = {
    "product": product, "batched": batched, "convolved": convolved, "grouped": lambda: convolved(2),
    "depthwise": depthwise, "pooled": pooled, "rows": rows, "summed": summed, "turned": turned,
    "attention": attention, "feed-forward": feed_forward,
}  # fmt: skip


def _list(*offsets: str) -> str:
    return f"[{', '.join(offsets)}]"


def edits(text: str) -> Iterator[tuple[str, str]]:
    """Texts with one thing changed, and what it was."""
    lines = text.split("\n")
    kernels = next(i for i, line in enumerate(lines) if "func.func private" in line)

    def edited(i: int, *by: str) -> str:
        return "\n".join([*lines[:i], *by, *lines[i + 1 :]])

    for i, line in enumerate(lines):
        if i <= kernels:
            continue
        if loop := re.search(r"= (\d+) to (\d+) step (\d+)", line):
            a, b, s = map(int, loop.groups())
            for bounds in {(a, b, s + 3), (a, b, s // 2 or 2), (a, b - s, s), (a, b + s, s),
                           (a + s, b, s), (a + 1, b, s), (a, b, 2 * s)}:  # fmt: skip
                if bounds[0] < bounds[1]:
                    to = "= {} to {} step {}".format(*bounds)
                    yield f"{loop[0]}: {to}", edited(i, line.replace(loop[0], to))
        if re.search(r"dma\.(write|put)|tile\.store", line):
            yield "no store", edited(i)
            yield "two stores", edited(i, line, line)
        for words in (r" over\([^)]*\)", r" after\([^)]*\)"):
            if found := re.search(words, line):
                yield f"no {found[0]}", edited(i, line.replace(found[0], ""))
        found = re.search(r"\[((?:%?\w+, )*%?\w+)\]", line)
        if found and re.search(r"fetch|load|write|store|move", line):
            parts = found[1].split(", ")
            for x, part in enumerate(parts):
                if part.startswith("%"):
                    shifted = line.replace(found[0], _list(*parts[:x], "%q9", *parts[x + 1 :]), 1)
                    before = (
                        "%q8 = arith.constant 8 : index",
                        f"%q9 = arith.addi {part}, %q8 : index",
                    )
                    yield f"{part} + 8", edited(i, *before, shifted)
                    yield (
                        f"{part}: 0",
                        edited(
                            i, line.replace(found[0], _list(*parts[:x], "0", *parts[x + 1 :]), 1)
                        ),
                    )
                for y in range(x):
                    if parts[x] != parts[y]:
                        swapped = [*parts]
                        swapped[x], swapped[y] = parts[y], parts[x]
                        yield (
                            "swapped indices",
                            edited(i, line.replace(found[0], _list(*swapped), 1)),
                        )


@pytest.mark.parametrize("level", ["tile", "dma"])
@pytest.mark.parametrize("name", GRAPHS)
def test_an_edit_is_refused_or_computes_the_same(name: str, level: str) -> None:
    program = kpu_ir.compile(GRAPHS[name](), search="none")
    rng = np.random.default_rng(0)
    inputs = {
        p.name: rng.standard_normal(tuple(p.type.get_shape())).astype(np.float32)
        for p in program.program.inputs
    }
    expected = program(inputs)["y"]
    text = program.ir(level, None)  # pyright: ignore[reportArgumentType]
    check_module(parse_module(text, "m.mlir", context()))
    refused = 0
    for number, (what, changed) in enumerate(edits(text)):
        if number % (5 if level == "tile" else 3):  # all of them take a minute
            continue
        try:
            module = parse_module(changed, "m.mlir", context())
            got = kpu_ir.compile(module)(inputs)["y"]
        except KpuError:
            refused += 1
            with pytest.raises(KpuError, match=r"m\.mlir:\d+:\d+: "):  # kpu-opt finds it, too
                check_module(parse_module(changed, "m.mlir", context()))
            continue
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4, err_msg=what)
    assert refused


def edited_product() -> tuple[Compiled, str]:
    g = Graph()
    g.output("y", g.input("x", (256, 256)) @ g.input("w", (256, 256)))
    program = kpu_ir.compile(g, search="none")
    return program, program.ir("dma", None)


def refusal(text: str) -> KpuError:
    with pytest.raises(KpuError) as refused:
        kpu_ir.compile(parse_module(text, "m.mlir", context()))
    return refused.value


def test_a_step_past_elements_says_which_are_left_out() -> None:
    _, text = edited_product()
    error = refusal(re.sub(r"(%k = 0 to 256 step )32", r"\g<1>44", text))
    assert "adds up 192 elements of 256: [32:44] is left out" in error.message
    line = int(error.where.split(":")[1])  # pyright: ignore[reportOptionalMemberAccess]
    assert "dma.matmul" in text.split("\n")[line - 1]
    error = refusal(re.sub(r"(%k = 0 to 256 step )32", r"\g<1>24", text))
    assert "[24:32] is taken 2 times" in error.message
    error = refusal(re.sub(r"(%n = 0 to 256 step )64", r"\g<1>65", text))
    assert "[0:256, 64:65] of parameter 2 is never written" in error.message


def test_what_main_does_not_call_is_missed() -> None:
    _, text = edited_product()
    error = refusal("\n".join(line for line in text.split("\n") if "func.call" not in line))
    assert "nothing writes the output" in error.message


def test_outputs_beside_those_of_the_original() -> None:
    program, text = edited_product()
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal((256, 256)).astype(np.float32) for name in "xw"}
    same = compare_with(program, "a.mlir", program, inputs, program(inputs))
    assert not same.wrong
    text = text.replace("@matmul_0(%x, %w,", "@matmul_0(%w, %x,")
    swapped = kpu_ir.compile(parse_module(text, "m.mlir", context()))  # another product, and whole
    other = compare_with(program, "a.mlir", swapped, inputs, swapped(inputs))
    assert other.wrong
    assert "differ from a.mlir: 'y' by" in str(other)
    with pytest.raises(KpuError, match="its inputs are"):
        compare_with(kpu_ir.compile(product()), "b.mlir", program, inputs, program(inputs))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "layernorm", "sum"])
def test_rows_that_are_streamed_are_whole(name: str) -> None:
    """Several passes, the first piece apart, a sum of it beside: all of that is meant."""
    g = Graph()
    g.output("y", getattr(g.input("x", (3, 100_000)), name)())
    check_module(kpu_ir.compile(g, search="none").stages["dma"])
