"""linalg on tensors: what captured files compute, what generics become, what is said of the rest.

The files in data/ are what torch-mlir and IREE print; data/make_linalg.py made them.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from kpu_ir import pipeline as driver
from kpu_ir.dialects import kernel
from kpu_ir.frontends.linalg import is_linalg, linalg_to_kernel
from kpu_ir.frontends.linalg.access import NAMED, linear, named_maps
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.program.inputs import ports
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import parse_module
from kpu_ir.tools.run import main as kpu_run

DATA = Path(__file__).parent / "data"
RNG = np.random.default_rng(7)


def converted(text: str, name: str = "test.mlir") -> ModuleOp:
    """The module after the pass."""
    module = parse_module(text, name, context())
    linalg_to_kernel(module)
    module.verify()
    return module


def refused(text: str) -> str:
    """What is said of a module that cannot be converted."""
    with pytest.raises(KpuError) as caught:
        converted(text)
    return str(caught.value)


def names(module: ModuleOp) -> list[str]:
    """The operations of a module, without constants and views."""
    quiet = {"builtin.module", "func.func", "func.return", "kernel.constant", "kernel.reshape"}
    return [
        op.name
        for op in module.walk()
        if op.name not in quiet and not op.name.startswith("arith") and op.name != "kernel.yield"
    ]


# -- networks: the same as from ONNX ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "model"),
    [("mlp", "mlp"), ("cnn", "cnn"), ("block", "block"), ("mlp-iree", "mlp")],
)
def test_networks_as_from_onnx(text: str, model: str) -> None:
    from_text = driver.compile(DATA / f"{text}.mlir", search="none")
    from_onnx = driver.compile(DATA / f"{model}.onnx", search="none")
    x = RNG.standard_normal(from_onnx.program.inputs[0].type.get_shape()).astype(np.float32)
    (name,) = (p.name for p in from_text.program.inputs)
    (got,) = from_text({name: x}).values()
    (expected,) = from_onnx({"x": x}).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)
    onnxruntime = pytest.importorskip("onnxruntime")
    (oracle,) = onnxruntime.InferenceSession(DATA / f"{model}.onnx").run(None, {"x": x})
    np.testing.assert_allclose(got, oracle, rtol=1e-5, atol=2e-6)


def test_a_block_is_as_fast_as_from_onnx() -> None:
    """Softmax and norms are seen again in their steps, so both become the same programs."""
    from_text = driver.compile(DATA / "block.mlir", search="none")
    from_onnx = driver.compile(DATA / "block.onnx", search="none")
    found = [op.name for op in converted((DATA / "block.mlir").read_text()).walk()]
    assert found.count("kernel.softmax") == 1
    assert found.count("kernel.normalize") == 2
    assert found.count("kernel.matmul") == 8
    assert from_text.cycles == from_onnx.cycles


# -- functions of torch -----------------------------------------------------------------------------


def torch_cases() -> dict[str, tuple[str, list[np.ndarray], np.ndarray]]:
    cases = {}
    for file in sorted(DATA.glob("torch-*.mlir")):
        arrays = dict(np.load(file.with_suffix(".npz")))
        for text in file.read_text().split("// -----\n"):
            name = text.split("\n", 1)[0].removeprefix("// ")
            inputs = [
                arrays[f"{name}.arg{i}"] for i in range(len(arrays)) if f"{name}.arg{i}" in arrays
            ]
            cases[name] = text, inputs, arrays[f"{name}.out"]
    return cases


CASES = torch_cases()


@pytest.mark.parametrize("name", CASES)
def test_functions_of_torch(name: str) -> None:
    text, inputs, expected = CASES[name]
    module = converted(text)
    (got,) = evaluate(module, inputs)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["convt", "avgpool_nopad", "gn", "sdpac", "emb", "convdw", "argmax"]
)
def test_functions_of_torch_on_the_device(name: str) -> None:
    text, inputs, expected = CASES[name]
    program = driver.compile(converted(text), search="none")
    (got,) = program({p.name: x for p, x in zip(program.program.inputs, inputs)}).values()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("ln", ["kernel.normalize"]),
        ("rms", ["kernel.normalize"]),
        ("logsoftmax", ["kernel.softmax"]),
        ("convdw", ["kernel.broadcast", "kernel.conv", "kernel.map"]),
        ("emb", ["kernel.gather"]),
        ("cat", ["kernel.concat"]),
        ("maxpool", ["kernel.pool"]),
        ("argmax", ["kernel.arg_reduce"]),
        ("einsum", ["kernel.transpose", "kernel.matmul", "kernel.transpose"]),
        ("permute", ["kernel.transpose"]),
    ],
)
def test_kernels_by_name(name: str, kernels: list[str]) -> None:
    assert names(converted(CASES[name][0])) == kernels


# -- generics of any kind, against loops ------------------------------------------------------------

COMBINE: dict[str, tuple[str, Any, float]] = {
    "add": ("arith.addf", np.add, 0.0),
    "mul": ("arith.mulf", np.multiply, 1.0),
    "max": ("arith.maximumf", np.maximum, -np.inf),
    "min": ("arith.minimumf", np.minimum, np.inf),
}
HEX = {-np.inf: "0xFF800000", np.inf: "0x7F800000"}


def tensor(shape: Any, element: str = "f32") -> str:
    return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"


def generic(
    maps: list[list[str]],
    shapes: list[tuple[int, ...]],
    loops: int,
    kind: str,
    body: str,
    start: float,
) -> str:
    """A function of one generic of two inputs, whose last map is the result's."""
    dims = ", ".join(f"d{i}" for i in range(loops))
    written = set(" ".join(maps[-1]).replace("d", " d").split())
    kinds = ["parallel" if f"d{i}" in written else "reduction" for i in range(loops)]
    a, b, out = map(tensor, shapes)
    number = HEX.get(start, f"{start:.6e}")
    last = "%r" if "reduction" not in kinds else "%s"
    combine = f'%s = "{COMBINE[kind][0]}"(%out, %r) : (f32, f32) -> f32' if last == "%s" else ""
    return f"""
#a = affine_map<({dims}) -> ({", ".join(maps[0])})>
#b = affine_map<({dims}) -> ({", ".join(maps[1])})>
#c = affine_map<({dims}) -> ({", ".join(maps[2])})>
func.func @f(%a: {a}, %b: {b}) -> {out} {{
  %start = arith.constant {number} : f32
  %e = "tensor.empty"() : () -> {out}
  %init = "linalg.fill"(%start, %e) <{{operandSegmentSizes = array<i32: 1, 1>}}> ({{
  ^bb0(%p: f32, %q: f32):
    "linalg.yield"(%p) : (f32) -> ()
  }}) : (f32, {out}) -> {out}
  %y = "linalg.generic"(%a, %b, %init) <{{indexing_maps = [#a, #b, #c], iterator_types = [{", ".join(f"#linalg.iterator_type<{k}>" for k in kinds)}], operandSegmentSizes = array<i32: 2, 1>}}> ({{
  ^bb0(%p: f32, %q: f32, %out: f32):
    %r = "{body}"(%p, %q) : (f32, f32) -> f32
    {combine}
    "linalg.yield"({last}) : (f32) -> ()
  }}) : ({a}, {b}, {out}) -> {out}
  func.return %y : {out}
}}
"""


def looped(
    maps: list[list[str]],
    extents: list[int],
    a: Any,
    b: Any,
    out: Any,
    kind: str,
    body: Any,
    sums: bool,
) -> Any:
    """The generic, loop by loop."""
    codes = [compile(f"({', '.join(m)}{',' if m else ''})", "map", "eval") for m in maps]
    for at in product(*map(range, extents)):
        counters = {f"d{i}": n for i, n in enumerate(at)}
        x, y, z = (eval(code, counters) for code in codes)
        value = body(a[x], b[y])
        out[z] = COMBINE[kind][1](out[z], value) if sums else value
    return out


@pytest.mark.parametrize("seed", range(60))
def test_random_generics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loops = int(rng.integers(1, 5))
    extents = [int(n) for n in rng.integers(1, 5, loops)]
    kind, body = str(rng.choice(list(COMBINE))), str(rng.choice(["add", "mul"]))
    out = [f"d{i}" for i in rng.permutation(loops) if rng.random() < 0.7]

    def some() -> list[str]:
        chosen = [int(i) for i in rng.permutation(loops) if rng.random() < 0.8]
        return [f"d{i}" for i in chosen] + ["0"] * int(rng.integers(0, 2))

    reads = [some(), some()]
    left = set(range(loops)) - {int(d[1:]) for m in (*reads, out) for d in m if d != "0"}
    reads[0] += [f"d{i}" for i in sorted(left)]
    maps = [*reads, out]
    shapes = [tuple(1 if d == "0" else extents[int(d[1:])] for d in m) for m in maps]
    start = COMBINE[kind][2] if rng.random() < 0.7 else 2.0
    sums = len(out) < loops
    a, b = (rng.standard_normal(s).astype(np.float32) for s in shapes[:2])
    expected = np.full(shapes[2], start, np.float32)
    looped(maps, extents, a, b, expected, kind, COMBINE[body][1], sums)
    module = converted(generic(maps, shapes, loops, kind, COMBINE[body][0], start))
    (got,) = evaluate(module, [a, b])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("maps", "extents", "shapes", "kind", "expected"),
    [  # a strided read, a shifted one, a reversed one, a diagonal, a window of another stride each
        (["d0 * 2 + 1", "d0", "d0"], [3], [(7,), (3,), (3,)], "add", "kernel.slice"),
        (["2 - d0", "d0", "d0"], [3], [(3,), (3,), (3,)], "add", "kernel.slice"),
        (["d0|d0", "d0", "d0"], [3], [(3, 3), (3,), (3,)], "add", "kernel.gather"),
        (["d0 + d1", "d1", "d0"], [4, 3], [(6,), (3,), (4,)], "add", "kernel.conv"),
        (["d0 * 2 + d1 * 3", "d1", "d0"], [3, 2], [(8,), (2,), (3,)], "add", "kernel.conv"),
        (["d0 + d1 + d2", "d1|d2", "d0"], [2, 2, 2], [(4,), (2, 2), (2,)], "add", "kernel.gather"),
        (["d1|d0 + d2", "d2", "d0|d1"], [4, 3, 2], [(3, 5), (2,), (4, 3)], "add", "kernel.conv"),
        (["d0 + d1", "d1", "d0"], [4, 3], [(6,), (3,), (4,)], "max", "kernel.gather"),
        (["d0|d2", "d1|d2", "d1|d0"], [3, 4, 5], [(3, 5), (4, 5), (4, 3)], "add", "kernel.matmul"),
    ],
)  # fmt: skip
def test_ways_to_read(
    maps: list[str], extents: list[int], shapes: list[tuple[int, ...]], kind: str, expected: str
) -> None:
    split = [m.split("|") for m in maps]
    a, b = (RNG.standard_normal(s).astype(np.float32) for s in shapes[:2])
    start = COMBINE[kind][2]
    module = converted(generic(split, shapes, len(extents), kind, "arith.mulf", start))
    wanted = np.full(shapes[2], start, np.float32)
    looped(split, extents, a, b, wanted, kind, np.multiply, len(split[2]) < len(extents))
    np.testing.assert_allclose(evaluate(module, [a, b])[0], wanted, rtol=1e-5, atol=1e-6)
    assert expected in names(module)


def test_forms_of_mlir() -> None:
    """``contract``, ``elementwise``, ``reduce``, ``map`` and ``softmax``."""
    a, b = (RNG.standard_normal(s).astype(np.float32) for s in ((3, 4), (5, 4)))
    exp = np.exp(a - a.max(1, keepdims=True))
    expected = [a @ b.T, np.exp(a.T), a.sum(0), np.abs(a), exp / exp.sum(1, keepdims=True)]
    got = evaluate(converted((DATA / "linalg-forms.mlir").read_text()), [a, b])
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def renamed(maps: list[str]) -> list[str]:
    """Loops named in the order that they are written, then read."""
    order: dict[str, str] = {}
    for text in (maps[-1], *maps[:-1]):
        for loop in re.findall(r"d\d+", text.partition("->")[2]):
            order.setdefault(loop, f"e{len(order)}")
    return [re.sub(r"d\d+", lambda m: order[m[0]], m.partition("->")[2]).strip() for m in maps]


def test_named_operations_read_as_mlir_says() -> None:
    lines = (DATA / "linalg-named-maps.txt").read_text().splitlines()
    assert len(lines) > 30
    for line in lines:
        name, strides, dilations, theirs = (part.strip() for part in line.split(" | "))
        ours = named_maps(NAMED[name], ast.literal_eval(strides), ast.literal_eval(dilations))
        assert renamed([f"-> {flat(m)}" for m in ours]) == renamed(theirs.split(" ; ")), name


def flat(map: Any) -> str:
    """An indexing map's results as MLIR prints them."""
    results: list[str] = []
    for expr in map.results:
        axis = linear(expr)
        assert axis is not None
        terms = [f"d{loop}" + (f" * {n}" if n != 1 else "") for loop, n in axis.factors]
        results.append(" + ".join(terms))
    return f"({', '.join(results)})"


# -- text -------------------------------------------------------------------------------------------

RESOURCE = """
"builtin.module"() ({{
  "func.func"() <{{function_type = (tensor<2xf32>) -> tensor<2xf32>, sym_name = "main"}}> ({{
  ^bb0(%x: tensor<2xf32>):
    %w = "arith.constant"() <{{value = dense_resource<weights> : tensor<2xf32>}}> : () -> tensor<2xf32>
    %c = "tensor.cast"(%w) : (tensor<2xf32>) -> tensor<2xf32>
    %y = "arith.mulf"(%x, %c) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    "func.return"(%y) : (tensor<2xf32>) -> ()
  }}) : () -> ()
}}) : () -> ()
{{-#
  dialect_resources: {{
    builtin: {{
      weights: "0x04000000{data}"
    }}
  }}
#-}}
"""


def test_weights_behind_the_module() -> None:
    """Each file has its own, though xDSL keeps those of all files in one place."""
    modules = []
    for values in ([2.0, 3.0], [5.0, 7.0]):
        data = np.array(values, np.float32).tobytes().hex().upper()
        modules.append((values, converted(RESOURCE.format(data=data))))
    for values, module in modules:
        (got,) = evaluate(module, [np.ones(2, np.float32)])
        assert got.tolist() == values
    said = refused(RESOURCE.format(data="00" * 4))
    assert re.search(r"has a resource 'weights\w*' of 4 bytes, expected 8", said)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("f32", "[0xFF800000, 0x7F800000, 1.5]", [-np.inf, np.inf, 1.5]),
        ("f16", "[0xFC00, 0x7C00, 2]", [-np.inf, np.inf, 2.0]),
        ("f32", "0xFF800000", [-np.inf] * 3),
        ("i32", "[0x10, 2, 3]", [16, 2, 3]),
    ],
)
def test_bits_in_dense_literals(kind: str, text: str, expected: list[float]) -> None:
    """MLIR writes infinities as bits; they are not large numbers."""
    source = f"func.func @main() -> tensor<3x{kind}> {{\n  %c = kernel.constant dense<{text}> : tensor<3x{kind}>\n  func.return %c : tensor<3x{kind}>\n}}"
    module = parse_module(source, "t.mlir", context())
    again = parse_module(str(module), "t.mlir", context())
    for one in (module, again):
        assert evaluate(one, [])[0].tolist() == expected


def test_bits_that_do_not_fit() -> None:
    with pytest.raises(KpuError, match="0xFF800000 has more bits than f16"):
        parse_module("%c = kernel.constant dense<0xFF800000> : tensor<1xf16>", "t.mlir", context())


def test_pretty_text_of_what_is_not_known() -> None:
    text = "%0 = linalg.batch_matmul ins(%a, %b : tensor<1x2x3xf32>)\n"
    with pytest.raises(KpuError, match=r"t.mlir:1:6: .*batch_matmul.*--mlir-print-op-generic"):
        parse_module(text, "t.mlir", context())


def test_a_kernel_module_stays() -> None:
    source = (
        "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n  func.return %x : tensor<2xf32>\n}"
    )
    module = parse_module(source, "t.mlir", context())
    before = str(module)
    linalg_to_kernel(module)
    assert not is_linalg(module)
    assert str(module) == before


def test_our_own_operations_are_still_checked() -> None:
    text = '"builtin.module"() ({\n  "tensor.empty"() : () -> tensor<2xf32>\n  "kernel.nonsense"() : () -> ()\n}) : () -> ()'
    with pytest.raises(KpuError, match=r"t.mlir:3:.*kernel.nonsense is not registered"):
        parse_module(text, "t.mlir", context())


def test_names_of_inputs_and_results() -> None:
    text = """
func.func @anything(%x: tensor<2xf32> {iree.abi.name = "tokens"}, %1: tensor<2xf32>) -> (tensor<2xf32> {iree.abi.name = "sum"}) {
  %e = "tensor.empty"() : () -> tensor<2xf32>
  %y = arith.addf %x, %1 : tensor<2xf32>
  func.return %y : tensor<2xf32>
}"""
    program = driver.compile(converted(text), search="none")
    assert [p.name for p in program.program.inputs] == ["tokens", "arg1"]
    assert [p.name for p in program.program.outputs] == ["sum"]


def test_places_are_those_of_the_text() -> None:
    module = converted(CASES["emb"][0], "emb.mlir")
    (gather,) = (op for op in module.walk() if isinstance(op, kernel.GatherOp))
    assert 'loc("emb.mlir":' in str(gather.location)


# -- what is not supported --------------------------------------------------------------------------


def function(body: str, result: str = "tensor<2x3xf32>") -> str:
    return f"func.func @f(%x: tensor<2x3xf32>) -> {result} {{\n{body}\n}}"


def test_everything_that_has_no_kernel_at_once() -> None:
    text = function("""  %s:2 = "tm_tensor.sort"(%x) : (tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %e = "tensor.empty"() : () -> tensor<2x3xf32>
  %t = "tensor.expand_shape"(%s#0) <{reassociation = [[0], [1, 2]], static_output_shape = array<i64: 2, 3, 1>}> : (tensor<2x3xf32>) -> tensor<2x3x1xf32>
  %w = "linalg.winograd_filter_transform"(%x, %e) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %u = "mystery.op"(%w) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %u : tensor<2x3xf32>""")
    said = refused(text)
    assert said.startswith("3 operations are not supported:")
    assert "test.mlir:2:3: tm_tensor.sort: there is no kernel for it" in said
    assert "test.mlir:5:3: linalg.winograd_filter_transform: there is no kernel for it" in said
    assert "test.mlir:6:3: mystery.op: there is no kernel for it" in said
    assert "expand_shape" not in said  # it only reads what another has not given
    assert "docs/linalg.md" in said


FILL = """  %e = "tensor.empty"() : () -> tensor<2xf32>
  %y = "linalg.generic"(%x, %e) <{indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%p: f32, %out: f32):
    BODY
    "linalg.yield"(%r) : (f32) -> ()
  }) : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return %y : tensor<2xf32>"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('%r = "arith.addf"(%p, %out) : (f32, f32) -> f32', "is a tensor.empty: fill it first"),
        ('%r = "arith.subf"(%out, %p) : (f32, f32) -> f32', "test.mlir:5:5: arith.subf: has a reduction that is not"),
        ('%r = "complex.abs"(%p) : (f32) -> f32', "complex.abs"),
    ],
)  # fmt: skip
def test_reductions_that_are_refused(body: str, said: str) -> None:
    assert said in refused(function(FILL.replace("BODY", body), "tensor<2xf32>"))


def test_a_scalar_operation_without_meaning() -> None:
    text = function("""  %e = "tensor.empty"() : () -> tensor<2x3xf32>
  %y = "linalg.generic"(%x, %e) <{indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%p: f32, %out: f32):
    %r = "math.unheard_of"(%p) : (f32) -> f32
    "linalg.yield"(%r) : (f32) -> ()
  }) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %y : tensor<2x3xf32>""")
    said = refused(text)
    assert "test.mlir:5:5: math.unheard_of: is not a scalar operation" in said
    assert "(in linalg.generic)" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'func.func @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {\n  %e = "tensor.empty"() : () -> tensor<2xf32>\n  func.return %x : tensor<?x3xf32>\n}',
            "input 'x': tensor<?x3xf32> has a dynamic shape; export the model with static shapes",
        ),
        (
            'func.func @f(%x: tensor<3xui8>) -> tensor<3xui8> {\n  %e = "tensor.empty"() : () -> tensor<2xf32>\n  func.return %x : tensor<3xui8>\n}',
            "elements of ui8; linalg's are signless",
        ),
        (
            function('  %e = "tensor.empty"() : () -> tensor<2x3xf32>\n  func.return %x : tensor<2x3xf32>') + "\n"
            + function('  %e = "tensor.empty"() : () -> tensor<2x3xf32>\n  func.return %x : tensor<2x3xf32>').replace("@f", "@g"),
            "expected one function of linalg, got @f, @g",
        ),
        (
            function('  %e = "tensor.empty"() : () -> tensor<2x3xcomplex<f32>>\n  func.return %x : tensor<2x3xf32>'),
            "elements of complex<f32>, which is not supported",
        ),
        (
            function('  %y = "tensor.insert_slice"(%x, %x) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>, static_offsets = array<i64: 0, 0>, static_sizes = array<i64: 2, 3>, static_strides = array<i64: 1>}> : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>\n  func.return %y : tensor<2x3xf32>'),
            "test.mlir:2:3: tensor.insert_slice: expected an offset, a size and a stride for each of 2 dimensions",
        ),
        (
            function('  %z = "tensor.extract_slice"(%x) <{operandSegmentSizes = array<i32: 1, 0, 0, 0>, static_offsets = array<i64: 0, 0>, static_sizes = array<i64: 2, 2>, static_strides = array<i64: 1, 1>}> : (tensor<2x3xf32>) -> tensor<2x2xf32>\n'
                     '  %y = "tensor.insert_slice"(%z, %x) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>, static_offsets = array<i64: 0, 0>, static_sizes = array<i64: 2, 2>, static_strides = array<i64: 1, 2>}> : (tensor<2x2xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>\n  func.return %y : tensor<2x3xf32>'),
            "inserts in steps into a tensor that is not one value everywhere",
        ),
    ],
    ids=["dynamic", "unsigned", "two functions", "complex", "slice", "steps"],
)  # fmt: skip
def test_what_is_refused(text: str, said: str) -> None:
    assert said in refused(text)


def test_values_in_another_order_than_they_are_used() -> None:
    text = function("""  %y = "tensor.cast"(%z) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %z = "tensor.cast"(%y) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %z : tensor<2x3xf32>""")
    assert "test.mlir:2:3: tensor.cast: uses %z before it is defined" in refused(text)


def test_an_operation_that_xdsl_stumbles_over() -> None:
    text = function(
        """  %e = "tensor.empty"() : () -> tensor<3x2xf32>
  %y = "linalg.transpose"(%x, %e) <{permutation = array<i64: 5, 0>}> ({
  ^bb0(%p: f32, %out: f32):
    "linalg.yield"(%p) : (f32) -> ()
  }) : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  func.return %y : tensor<3x2xf32>""",
        "tensor<3x2xf32>",
    )
    assert "test.mlir:3:3: " in refused(text)


# -- tools ------------------------------------------------------------------------------------------


def test_kpu_run_takes_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert kpu_run([str(DATA / "mlp.mlir"), "--search", "none"]) == 0
    assert "against the reference: largest difference" in capsys.readouterr().out


def test_kpu_run_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sort.mlir"
    file.write_text(
        function('  %s = "tm_tensor.sort"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>\n  func.return %s : tensor<2x3xf32>')
    )  # fmt: skip
    assert kpu_run([str(file)]) == 1
    assert "sort.mlir:2:3: tm_tensor.sort: there is no kernel for it" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("torch-mlir-opt"), reason="needs the torch-mlir wheel")
@pytest.mark.parametrize("name", ["mlp", "cnn", "block"])
def test_the_wheel_of_today(name: str, tmp_path: Path) -> None:
    """What an installed torch-mlir makes of the ONNX file still gives what the file gives."""
    torch, text = tmp_path / "torch.mlir", tmp_path / "linalg.mlir"
    pipeline = (
        "torch-onnx-to-torch-backend-pipeline,torch-backend-to-linalg-on-tensors-backend-pipeline"
    )
    take = ["torch-mlir-import-onnx", DATA / f"{name}.onnx", "--opset-version", "17", "-o", torch]
    lower = ["torch-mlir-opt", torch, f"--pass-pipeline=builtin.module({pipeline})"]
    subprocess.run(take, check=True, cwd=tmp_path)
    subprocess.run([*lower, "--mlir-print-op-generic", "-o", text], check=True)
    x = RNG.standard_normal(evaluate_shape(DATA / f"{name}.onnx")).astype(np.float32)
    (got,) = evaluate(driver.read(text), [x])
    (expected,) = evaluate(driver.read(DATA / f"{name}.onnx"), [x])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)


def evaluate_shape(path: Path) -> tuple[int, ...]:
    (port,) = ports(driver.read(path)) or []
    return port[1].get_shape()
