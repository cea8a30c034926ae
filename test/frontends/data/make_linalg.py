"""Makes the captured inputs of test_linalg.py, in this folder. Run by hand; the tests only read them.

    pip install torch torch-mlir iree-base-compiler onnx     # torch-mlir of 2026-10, iree 3.13
    python make_linalg.py [CASE ...]

* mlp, cnn, block (.onnx), and what torch-mlir's and IREE's tools make of them (.mlir);
* torch-*.mlir, .npz: small functions of torch by way of torch-mlir, with inputs and what torch gives;
* linalg-forms.mlir: forms of linalg operations that those do not print, by way of iree-opt;
* linalg-named-maps.txt: the indexing maps that MLIR itself has for its named operations.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
N = helper.make_node
RNG = np.random.default_rng(0)
GENERIC = "--mlir-print-op-generic"
TO_LINALG = (
    "torch-onnx-to-torch-backend-pipeline,torch-backend-to-linalg-on-tensors-backend-pipeline"
)


def run(*command: str, text: str = "") -> str:
    """What a tool of the wheels prints."""
    tool = Path(sys.executable).parent / command[0]
    given = [str(tool), *command[1:]]
    return subprocess.run(given, input=text, capture_output=True, text=True, check=True).stdout


# -- networks --------------------------------------------------------------------------------------


def w(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def save(name: str, nodes: list, tensors: dict, inputs: dict, outputs: dict) -> None:
    def infos(shapes: dict) -> list:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    known = [numpy_helper.from_array(np.asarray(a), n) for n, a in tensors.items()]
    graph = helper.make_graph(nodes, name, infos(inputs), infos(outputs), known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / f"{name}.onnx")


def mlp() -> None:
    nodes = [
        N("Gemm", ["x", "w1", "b1"], ["a"], transB=1),
        N("Relu", ["a"], ["b"]),
        N("Gemm", ["b", "w2", "b2"], ["c"], transB=1),
        N("Sigmoid", ["c"], ["y"]),
    ]
    tensors = {"w1": w(32, 16), "b1": w(32), "w2": w(10, 32), "b2": w(10)}
    save("mlp", nodes, tensors, {"x": (8, 16)}, {"y": (8, 10)})


def cnn() -> None:
    nodes = [
        N("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1], strides=[1, 1], kernel_shape=[3, 3]),
        N("Relu", ["a"], ["b"]),
        N("MaxPool", ["b"], ["c"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        N(
            "Conv",
            ["c", "w2", "b2"],
            ["d"],
            pads=[1, 1, 1, 1],
            strides=[2, 2],
            kernel_shape=[3, 3],
            group=8,
        ),
        N("Relu", ["d"], ["e"]),
        N("Conv", ["e", "w4"], ["e2"], kernel_shape=[1, 1], group=2),
        N("BatchNormalization", ["e2", "s", "bb", "mu", "va"], ["e3"]),
        N("AveragePool", ["e3"], ["e4"], kernel_shape=[2, 2], strides=[1, 1]),
        N("GlobalAveragePool", ["e4"], ["f"]),
        N("Flatten", ["f"], ["g"]),
        N("Gemm", ["g", "w3", "b3"], ["z"], transB=1),
        N("Softmax", ["z"], ["y"], axis=1),
    ]
    tensors = {
        "w1": w(8, 3, 3, 3),
        "b1": w(8),
        "w2": w(8, 1, 3, 3),
        "b2": w(8),
        "w4": w(8, 4, 1, 1),
    }
    tensors |= {"s": w(8), "bb": w(8), "mu": w(8), "va": np.abs(w(8)) + np.float32(0.5)}
    tensors |= {"w3": w(10, 8), "b3": w(10)}
    save("cnn", nodes, tensors, {"x": (1, 3, 16, 16)}, {"y": (1, 10)})


def block() -> None:
    d, h, s = 32, 4, 8
    nodes = [N("LayerNormalization", ["x", "g1", "be1"], ["n1"], axis=-1, epsilon=1e-5)]
    for p in "qkv":
        perm = [0, 2, 3, 1] if p == "k" else [0, 2, 1, 3]
        nodes += [
            N("MatMul", ["n1", "w" + p], ["m" + p]),
            N("Add", ["m" + p, "b" + p], ["a" + p]),
            N("Reshape", ["a" + p, "heads"], ["r" + p]),
            N("Transpose", ["r" + p], ["t" + p], perm=perm),
        ]
    steps = """MatMul tq tk s, Div s root s2, Add s2 mask s3, Softmax s3 p, MatMul p tv o, Transpose o ot,
        Reshape ot flat of, MatMul of wo oo, Add oo bo ob, Add x ob x1, LayerNormalization x1 g2 be2 n2,
        MatMul n2 f1 h1, Add h1 fb1 h2, Div h2 sq2 h3, Erf h3 h4, Add h4 one h5, Mul h2 h5 h6,
        Mul h6 half h7, MatMul h7 f2 h8, Add h8 fb2 h9, Add x1 h9 y"""
    more = {"Softmax": {"axis": -1}, "Transpose": {"perm": [0, 2, 1, 3]}}
    more["LayerNormalization"] = {"axis": -1, "epsilon": 1e-5}
    for step in steps.split(","):
        op, *names = step.split()
        nodes.append(N(op, names[:-1], names[-1:], **more.get(op, {})))
    f32, i64 = np.float32, np.int64
    tensors = {"g1": 1 + f32(0.1) * w(d), "be1": w(d), "g2": 1 + f32(0.1) * w(d), "be2": w(d)}
    tensors |= {"heads": np.array([1, s, h, d // h], i64), "flat": np.array([1, s, d], i64)}
    tensors |= {"root": f32(np.sqrt(d // h)), "mask": np.triu(np.full((s, s), -np.inf, f32), 1)}
    tensors |= {
        "wo": w(d, d),
        "bo": w(d),
        "f1": w(d, 64),
        "fb1": w(64),
        "f2": w(64, d),
        "fb2": w(d),
    }
    tensors |= {"sq2": f32(np.sqrt(2)), "one": f32(1), "half": f32(0.5)}
    for p in "qkv":
        tensors |= {"w" + p: w(d, d), "b" + p: w(d)}
    save("block", nodes, tensors, {"x": (1, s, d)}, {"y": (1, s, d)})


def linalg_of(name: str) -> str:
    """What torch-mlir makes of an ONNX file, in generic form."""
    with tempfile.TemporaryDirectory() as folder:
        torch = Path(folder) / "torch.mlir"
        run(
            "torch-mlir-import-onnx",
            str(HERE / f"{name}.onnx"),
            "--opset-version",
            "17",
            "-o",
            str(torch),
        )
        return run(
            "torch-mlir-opt", str(torch), f"--pass-pipeline=builtin.module({TO_LINALG})", GENERIC
        )


def iree_of(name: str) -> str:
    """What IREE takes an ONNX file in as, in generic form."""
    with tempfile.TemporaryDirectory() as folder:
        torch = Path(folder) / "torch.mlir"
        model = shutil.copy(HERE / f"{name}.onnx", folder)  # it leaves a folder beside the model
        run("iree-import-onnx", model, "-o", str(torch))
        return run("iree-compile", str(torch), "--compile-to=input", GENERIC, "-o", "-")


# -- functions of torch ----------------------------------------------------------------------------


def torch_cases() -> dict:
    """Files, with the cases in them: name, function, modules it takes first, inputs."""
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    torch.manual_seed(0)
    r = torch.randn
    ints = torch.randint
    cases: dict = {}
    cases["elementwise"] = {
        "relu6": (lambda x: F.relu6(x), (), r(4, 5)),
        "silu": (lambda x: F.silu(x), (), r(4, 5)),
        "leaky": (
            lambda x: (
                F.leaky_relu(x, 0.1) + F.elu(x) + F.softplus(x) + F.hardswish(x) + F.hardsigmoid(x)
            ),
            (),
            r(4, 5),
        ),
        "bcast": (lambda x, y: x * y - y / x, (), r(4, 1, 5), r(3, 1)),
        "where": (lambda x, y: torch.where(x > y, x, y * 2), (), r(4, 5), r(5)),
        "pow": (
            lambda x: (
                x**2
                + x.abs() ** 0.5
                + torch.exp(x) * torch.tanh(x)
                + torch.sin(x)
                + torch.rsqrt(x.abs() + 1)
                + x.sign()
            ),
            (),
            r(3, 5),
        ),
        "clamp": (lambda x: x.clamp(-0.5, 0.5) + x.clamp(min=0.0), (), r(3, 5)),
        "round": (lambda x: x.round() + x.floor() + x.ceil() + x.trunc(), (), r(3, 5) * 3),
        "where2": (lambda x: torch.where(x > 0, 1.0, 0.0), (), r(3, 5)),
        "int": (lambda x, y: (x + y) // 2 * (x % 3), (), ints(0, 50, (3, 4)), ints(0, 50, (3, 4))),
        "half": (lambda x, y: (x.half() @ y.half()).float(), (), r(3, 5), r(5, 4)),
        "expand": (lambda x: x.expand(4, 3, 5) * 2, (), r(1, 3, 1)),
        "arange": (lambda x: x + torch.arange(5), (), r(3, 5)),
        "all": (lambda x: (x > 0).all(1), (), r(3, 5)),
        "onehot": (lambda x: F.one_hot(x, 5).float(), (), ints(0, 5, (4,))),
    }
    cases["reductions"] = {
        "sum": (lambda x: x.sum(1) + x.mean((0, 1)) + x.amax(2).amin(), (), r(3, 4, 4)),
        "var": (lambda x: x.var(1), (), r(3, 4)),
        "argmax": (lambda x: x.argmax(1), (), r(3, 7)),
        "argmin": (lambda x: x.argmin(), (), r(3, 7)),
        "prod": (lambda x: x.prod(1), (), r(3, 4)),
        "logsoftmax": (lambda x: F.log_softmax(x, 1), (), r(3, 4, 5)),
        "norm": (lambda x: F.normalize(x, dim=1) + x.norm(dim=1, keepdim=True), (), r(3, 5)),
        "ln": (lambda part, x: part(x), (nn.LayerNorm(8),), r(2, 4, 8)),
        "gn": (lambda part, x: part(x), (nn.GroupNorm(2, 4),), r(2, 4, 3, 3)),
        "rms": (lambda part, x: part(x), (nn.RMSNorm(8),), r(2, 4, 8)),
        "cdist": (lambda x, y: ((x[:, None] - y[None]) ** 2).sum(-1), (), r(3, 5), r(4, 5)),
        "masked": (
            lambda x: x.masked_fill(
                torch.ones(5, 5, dtype=torch.bool).triu(1), float("-inf")
            ).softmax(-1),
            (),
            r(5, 5),
        ),
    }
    cases["products"] = {
        "matvec": (lambda x, y: x @ y, (), r(3, 4), r(4)),
        "dot": (lambda x, y: torch.dot(x, y), (), r(4), r(4)),
        "bmm4": (lambda x, y: x @ y, (), r(2, 3, 4, 5), r(2, 3, 5, 6)),
        "bmmb": (lambda x, y: x @ y, (), r(2, 3, 4, 5), r(5, 6)),
        "einsum": (
            lambda x, y: torch.einsum("bhqd,bkhd->bqhk", x, y),
            (),
            r(2, 3, 4, 5),
            r(2, 6, 3, 5),
        ),
        "outer": (lambda x, y: torch.outer(x, y), (), r(4), r(5)),
        "linear3": (lambda part, x: part(x), (nn.Linear(8, 4),), r(2, 3, 8)),
        "conv1d": (lambda part, x: part(x), (nn.Conv1d(4, 6, 3, padding=1, stride=2),), r(2, 4, 9)),
        "conv2d": (
            lambda part, x: part(x),
            (nn.Conv2d(4, 6, 3, padding=1, stride=2, dilation=2),),
            r(1, 4, 9, 9),
        ),
        "convg": (lambda part, x: part(x), (nn.Conv2d(4, 6, 3, groups=2),), r(1, 4, 9, 9)),
        "convdw": (lambda part, x: part(x), (nn.Conv2d(4, 8, 3, groups=4),), r(2, 4, 9, 9)),
        "convt": (
            lambda part, x: part(x),
            (nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1),),
            r(1, 4, 5, 5),
        ),
        "sdpa": (
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
            (),
            r(1, 2, 4, 8),
            r(1, 2, 4, 8),
            r(1, 2, 4, 8),
        ),
        "sdpac": (
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            (),
            r(1, 2, 4, 8),
            r(1, 2, 4, 8),
            r(1, 2, 4, 8),
        ),
        "bn": (
            lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b),
            (),
            r(2, 4, 5, 5),
            r(4),
            r(4),
            r(4),
            r(4).abs(),
        ),
    }
    cases["movement"] = {
        "emb": (lambda part, x: part(x), (nn.Embedding(9, 4),), ints(0, 9, (2, 3))),
        "cat": (lambda x, y: torch.cat([x, y, x], 1), (), r(2, 3, 4), r(2, 1, 4)),
        "stack": (lambda x, y: torch.stack([x, y], 1), (), r(2, 3), r(2, 3)),
        "split": (lambda x: torch.split(x, 2, 1)[1] * x[:, ::3].sum(), (), r(2, 6)),
        "flip": (lambda x: x.flip(1), (), r(2, 6)),
        "roll": (lambda x: x.roll(2, 1), (), r(2, 6)),
        "pad": (lambda x: F.pad(x, (1, 2, 0, 1), value=3.0), (), r(2, 6)),
        "reflect": (lambda x: F.pad(x, (1, 2), mode="reflect"), (), r(2, 3, 6)),
        "permute": (lambda x: x.permute(2, 0, 1).reshape(5, -1), (), r(2, 3, 5)),
        "tril": (lambda x: x.tril(), (), r(5, 5)),
        "triu": (lambda x: torch.triu(x, 1), (), r(5, 5)),
        "indexsel": (lambda x: x.index_select(1, torch.tensor([2, 0, 1])), (), r(3, 5)),
        "advidx": (lambda x: x[torch.tensor([0, 2]), torch.tensor([1, 3])], (), r(3, 5)),
        "gather": (lambda x, i: torch.gather(x, 1, i), (), r(3, 5), ints(0, 5, (3, 2))),
        "unfold": (lambda x: F.unfold(x, 2), (), r(1, 2, 4, 4)),
        "pixsh": (lambda x: F.pixel_shuffle(x, 2), (), r(1, 8, 3, 3)),
        "up_near": (lambda x: F.interpolate(x, scale_factor=2.0), (), r(1, 2, 3, 3)),
        "slice_scatter": (lambda x, y: torch.slice_scatter(x, y, 1, 1, 3), (), r(2, 5), r(2, 2)),
    }
    cases["windows"] = {
        "maxpool": (lambda x: F.max_pool2d(x, 3, 2, 1), (), r(1, 4, 9, 9)),
        "maxpoolceil": (lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True), (), r(1, 4, 9, 9)),
        "avgpool": (lambda x: F.avg_pool2d(x, 3, 2, 1), (), r(1, 4, 9, 9)),
        "avgpool_nopad": (
            lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            (),
            r(1, 4, 9, 9),
        ),
        "adaptive": (lambda x: F.adaptive_avg_pool2d(x, 1), (), r(1, 4, 9, 9)),
        "adaptive2": (lambda x: F.adaptive_avg_pool2d(x, 3), (), r(1, 4, 9, 9)),
        "maxpool1d": (lambda x: F.max_pool1d(x, 2), (), r(1, 4, 9)),
    }
    return cases


def capture(function, modules: tuple, inputs: tuple) -> str:
    import torch.nn as nn
    from torch_mlir import fx

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(modules)

        def forward(self, *given):
            return function(*self.parts, *given)

    whole = Whole().eval()
    kind = "linalg-on-tensors"
    module = fx.export_and_import(whole, *inputs, output_type=kind, func_name="main")
    return module.operation.get_asm(print_generic_op_form=True).strip()


def torch_files() -> None:
    for file, cases in torch_cases().items():
        texts, arrays = [], {}
        for name, (function, modules, *inputs) in cases.items():
            texts.append(f"// {name}\n{capture(function, modules, tuple(inputs))}\n")
            for i, value in enumerate(inputs):
                arrays[f"{name}.arg{i}"] = value.numpy()
            arrays[f"{name}.out"] = function(*(m.eval() for m in modules), *inputs).detach().numpy()
        (HERE / f"torch-{file}.mlir").write_text("// -----\n".join(texts))
        np.savez_compressed(HERE / f"torch-{file}.npz", **arrays)


# -- named operations ------------------------------------------------------------------------------


def named_maps() -> None:
    from kpu_ir.frontends.linalg.access import NAMED

    extents = {
        "n": 2,
        "c": 3,
        "f": 4,
        "g": 2,
        "b": 2,
        "m": 3,
        "k": 4,
        "i": 2,
        "j": 3,
        "x": 3,
        "y": 2,
    }
    lines = []
    for name, spec in NAMED.items():
        reads, _, writes = spec.partition("->")
        operands = [words.split() for words in (*reads.split(","), writes)]
        windows = [word for words in operands for word in words if ":" in word]
        strides, dilations = [2, 3][: len(windows)], [1, 2][: len(windows)]
        if name in ("conv_1d", "conv_2d"):
            strides = dilations = [1] * len(windows)

        def size(word: str) -> int:
            place, _, element = word.partition(":")
            if not element:
                return extents[place]
            at = windows.index(word)
            return (extents[place] - 1) * strides[at] + (extents[element] - 1) * dilations[at] + 1

        types = [
            "tensor<" + "".join(f"{size(word)}x" for word in words) + "f32>" for words in operands
        ]
        *ins, out = types
        given = ", ".join(f"%{i}" for i in range(len(ins)))
        kind = f"tensor<{len(windows)}xi64>"
        steps = f"{{dilations = dense<{dilations}> : {kind}, strides = dense<{strides}> : {kind}}}"
        if not windows or name in ("conv_1d", "conv_2d"):
            steps = ""
        arguments = ", ".join(f"%{i}: {kind}" for i, kind in enumerate(types))
        text = (
            f"func.func @f({arguments}) -> {out} {{\n"
            f"  %r = linalg.{name} {steps} ins({given} : {', '.join(ins)}) outs(%{len(ins)} : {out}) -> {out}\n"
            f"  return %r : {out}\n}}\n"
        )
        try:
            printed = run("iree-opt", "-", "--linalg-generalize-named-ops", text=text)
        except subprocess.CalledProcessError:  # a name of other versions of MLIR
            print("not known to this version:", name)
            continue
        maps = dict(re.findall(r"^(#map\d*) = affine_map<(.*)>$", printed, re.M))
        used = re.search(r"indexing_maps = \[(.*?)\]", printed)
        assert used is not None
        found = " ; ".join(maps[m] for m in used[1].split(", "))
        lines.append(f"{name} | {strides} | {dilations} | {found}\n")
    (HERE / "linalg-named-maps.txt").write_text("".join(lines))


FORMS = """\
func.func @main(%a: tensor<3x4xf32>, %b: tensor<5x4xf32>) -> (tensor<3x5xf32>, tensor<4x3xf32>, tensor<4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<3x5xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<3x5xf32>) -> tensor<3x5xf32>
  %0 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>] ins(%a, %b : tensor<3x4xf32>, tensor<5x4xf32>) outs(%f : tensor<3x5xf32>) -> tensor<3x5xf32>
  %e1 = tensor.empty() : tensor<4x3xf32>
  %1 = linalg.elementwise <exp> indexing_maps = [affine_map<(i, j) -> (j, i)>, affine_map<(i, j) -> (i, j)>] ins(%a : tensor<3x4xf32>) outs(%e1 : tensor<4x3xf32>) -> tensor<4x3xf32>
  %e2 = tensor.empty() : tensor<4xf32>
  %f2 = linalg.fill ins(%z : f32) outs(%e2 : tensor<4xf32>) -> tensor<4xf32>
  %2 = linalg.reduce { arith.addf } ins(%a : tensor<3x4xf32>) outs(%f2 : tensor<4xf32>) dimensions = [0]
  %e3 = tensor.empty() : tensor<3x4xf32>
  %3 = linalg.map { math.absf } ins(%a : tensor<3x4xf32>) outs(%e3 : tensor<3x4xf32>)
  %4 = linalg.softmax dimension(1) ins(%a : tensor<3x4xf32>) outs(%e3 : tensor<3x4xf32>) -> tensor<3x4xf32>
  return %0, %1, %2, %3, %4 : tensor<3x5xf32>, tensor<4x3xf32>, tensor<4xf32>, tensor<3x4xf32>, tensor<3x4xf32>
}
"""


def main() -> None:
    for make in (mlp, cnn, block):
        make()
        (HERE / f"{make.__name__}.mlir").write_text(linalg_of(make.__name__))
    (HERE / "mlp-iree.mlir").write_text(iree_of("mlp"))
    (HERE / "linalg-forms.mlir").write_text(run("iree-opt", "-", GENERIC, text=FORMS))
    named_maps()
    torch_files()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
