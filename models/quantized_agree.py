"""Agreement of quantized networks with onnxruntime: each node, and each piece between stored numbers, by itself,
fed with onnxruntime's own tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from quantized_forms import Arrays, first, session, written
from quantized_whole import inputs_of, whole

from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.passes.kernel_quantize import KernelQuantizePass
from kpu_ir.registry import context


@dataclass
class Count:
    """Results of one operator: nodes, elements, how many differ and by how much at most."""

    nodes: int = 0
    elements: int = 0
    differ: int = 0
    most: float = 0.0
    integer: bool = True

    def add(self, other: Count) -> None:
        """Both together."""
        self.nodes += other.nodes
        self.elements += other.elements
        self.differ += other.differ

    @property
    def share(self) -> str:
        """How many differ, and of all."""
        part = f" ({100 * self.differ / self.elements:.4f} %)" if self.differ else ""
        return f"{self.differ:,}{part}"


STEP = 1e-5
"""Of a float result's largest value: what another order of additions stays below."""


def tensors_of(model: Any, inputs: Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    """All tensors by name as onnxruntime has them, and the constants."""
    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = numpy_helper.to_array(node.attribute[0].t)
            constants[node.output[0]] = numpy_helper.from_array(value, node.output[0])
    names = [n for node in model.graph.node if node.op_type != "Constant" for n in node.output if n]
    given = {i.name for i in model.graph.input}
    fed = {n: np.asarray(v) for n, v in inputs.items() if n in given}
    return {**dict(zip(names, session(model, names).run(names, fed))), **fed}, constants


def agreement(model: Any, inputs: Arrays) -> dict[str, Count]:
    """Each node by itself, by operator; and of models with QDQ nodes each piece that ends in a quantize and
    begins at stored numbers, as ``kernel-quantize`` leaves it, by what is in it."""
    known, constants = tensors_of(model, inputs)
    counts: dict[str, Count] = {}
    for name, nodes, fold in [*single(model), *pieces(model, constants)]:
        got = alone(model, nodes, known, constants, fold)
        count = counts.setdefault(name, Count())
        count.nodes += 1
        for a, b in zip(got, [np.asarray(known[n]) for n in nodes[-1].output if n]):
            different(count, a, b)
    return counts


def single(model: Any) -> Iterator[tuple[str, list[Any], bool]]:
    """Each node."""
    for node in model.graph.node:
        if node.op_type != "Constant":
            yield node.op_type, [node], False


def pieces(model: Any, constants: Mapping[str, Any]) -> Iterator[tuple[str, list[Any], bool]]:
    """From stored numbers to a quantize."""
    makers = {n: node for node in model.graph.node for n in node.output}
    for last in model.graph.node:
        if last.op_type != "QuantizeLinear" or last.input[0] not in makers:
            continue
        found: dict[int, Any] = {}
        waiting, whole = [last], True
        while waiting:
            node = waiting.pop()
            found[id(node)] = node
            for name in node.input:
                maker = makers.get(name)
                if maker is None or name in constants:
                    whole &= name in constants or node.op_type == "DequantizeLinear"
                elif node.op_type != "DequantizeLinear" and id(maker) not in found:
                    waiting.append(maker)
        nodes = [n for n in model.graph.node if id(n) in found]
        inner = [n.op_type for n in nodes if "Linear" not in n.op_type]
        if whole and inner:
            yield f"Q({', '.join(dict.fromkeys(inner))})", nodes, True


def alone(
    model: Any, nodes: Sequence[Any], known: Arrays, constants: Mapping[str, Any], fold: bool
) -> list[Any]:
    """The results of the last of some nodes by the meaning of ``kernel``."""
    made_here = {n for node in nodes for n in node.output}
    read = [n for node in nodes for n in node.input if n and n not in made_here]
    read = list(dict.fromkeys(read))
    feeds = {n: np.asarray(known[n]) for n in read if n not in constants}
    integers = {n for n in feeds if feeds[n].dtype == np.int64}  # shapes, mostly
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in feeds.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(n) for n in nodes[-1].output if n]
    weights = [constants[n] for n in read if n in constants]
    graph = helper.make_graph(list(nodes), "some", infos, outputs, weights)
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    module = import_onnx(made, constants={n: feeds[n] for n in integers})
    if fold:
        KernelQuantizePass().apply(context(), module)
        module.verify()
    return list(evaluate(module, {n: v for n, v in feeds.items() if n not in integers}))


def different(count: Count, got: Any, wanted: Any) -> None:
    """Add what differs: whole numbers that are not equal, floats beyond rounding."""
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    apart = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    count.elements += apart.size
    if wanted.dtype.kind in "iub":
        count.differ += int((apart > 0).sum())
        count.most = max(count.most, float(apart.max(initial=0)))
        return
    count.integer = False
    largest = float(np.abs(wanted).max(initial=0, where=np.isfinite(wanted))) or 1.0
    apart = np.where(got == wanted, 0.0, apart) / largest  # infinities, too
    count.differ += int((apart > STEP).sum())
    count.most = max(count.most, float(np.nanmax(apart, initial=0)))


def print_agreement(paths: Sequence[Path], forms: Sequence[str]) -> None:
    """Rows: model, form, operator, and what differs, as it is found; then the tables of docs/quantization.md: nodes by
    form, pieces of the form ``qdq``, whole models."""
    print("| model | form | operator | nodes | elements | differ | at most |")
    print("|---|---|---|---|---|---|---|")
    nodes: list[str] = []
    parts: list[str] = []
    ends: list[str] = []
    for path, form, made in written(paths, forms):
        name, inputs = path.stem, first(path.with_suffix(".npz"))
        total = Count()
        for op, c in agreement(onnx.load(made), inputs).items():
            most = f"{c.most:.0f}" if c.integer else f"{c.most:.1g} of largest"
            print(
                f"| {name} | {form} | {op} | {c.nodes} | {c.elements:,} | {c.share} | {most} |",
                flush=True,
            )
            if op.startswith("Q("):
                parts.append(
                    f"| {name} | {form} | {op} | {c.nodes} | {c.elements:,} | {c.share} | {most} |"
                )
            else:
                total.add(c)
        nodes.append(f"| {name} | {form} | {total.nodes} | {total.elements:,} | {total.share} |")
        ends.append(f"| {name} | {form} | {whole(made, inputs_of(path))} |")
        print(ends[-1], flush=True)
    for head, rows in (
        ("model | form | nodes | elements | differ", nodes),
        ("model | form | piece | pieces | elements | differ | by at most", parts),
        (
            "model | form | elements | equal | largest error, of the range | least cosine | same largest",
            ends,
        ),
    ):
        print(f"\n| {head} |\n|{'---|' * (head.count('|') + 1)}", *rows, sep="\n")
