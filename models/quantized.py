"""Quantized networks: forms of each model, agreement with onnxruntime node by node, accuracy.

``python models/quantized.py agree resnet18 minilm`` makes the forms of reference models (``models/make.py``
writes those) and feeds each node with onnxruntime's own inputs. ``digits``: five folds over 1,797 images.
``crops``: EfficientNet-Lite0 on 96 crops of scikit-image's pictures. ``sentences``: MiniLM.
All print rows of docs/quantization.md. Needs ``pip install 'kpu-ir[models]'``.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import SEED, export, folder, need
from onnx import helper, numpy_helper

from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.integrations.onnxruntime import oracle
from kpu_ir.integrations.quantize import calibration_of, quantize
from kpu_ir.interpreters.kernel import evaluate

Arrays = Mapping[str, Any]
Form = Callable[[Path, Arrays, Path], None]
"""Writes a form of a model, calibrated with data, to another path."""


# -- forms ----------------------------------------------------------------------------------------


def ours(**settings: Any) -> Form:
    """By ``kpu-quantize``."""

    def make(path: Path, data: Arrays, target: Path) -> None:
        static = settings.get("activations", "u8") in ("u8", "i8") and not settings.get("per_token")
        quantize(path, target, data if static else None, **settings)

    return make


def with_operators(path: Path, data: Arrays, target: Path) -> None:
    """QLinearConv and the like: onnxruntime's QOperator format."""
    package: Any = need("onnxruntime.quantization", "onnxruntime")
    items = iter(calibration_of(onnx.load(path), data))
    reader = type("Reader", (), {"get_next": lambda self: next(items, None)})()
    package.quantize_static(
        path, target, reader, quant_format=package.QuantFormat.QOperator, per_channel=True,
        activation_type=package.QuantType.QUInt8, weight_type=package.QuantType.QInt8,
    )  # fmt: skip


def dynamic(path: Path, data: Arrays, target: Path) -> None:
    """Steps of each tensor's own range, found as the model runs."""
    package: Any = need("onnxruntime.quantization", "onnxruntime")
    package.quantize_dynamic(path, target, per_channel=True, weight_type=package.QuantType.QInt8)


FORMS: dict[str, Form] = {
    "qdq": ours(),
    "qoperator": with_operators,
    "dynamic": dynamic,
    "per token": ours(per_token=True, activations="i8"),
    "i4 weights": ours(weights="i4", activations="none"),
}


# -- agreement ------------------------------------------------------------------------------------


def session(model: Any, outputs: Sequence[str] = ()) -> Any:
    """onnxruntime, without what it computes otherwise than is written."""
    runtime = oracle()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    there = {o.name for o in model.graph.output}
    added = [n for n in outputs if n not in there]
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in added)
    data = model.SerializeToString()
    if added:
        del model.graph.output[-len(added) :]
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@dataclass
class Count:
    """Results of one operator: nodes, elements, how many differ and by how much at most."""

    nodes: int = 0
    elements: int = 0
    differ: int = 0
    most: float = 0.0
    integer: bool = True


STEP = 1e-5
"""Of a float result's largest value: what another order of additions stays below."""


def agreement(model: Any, inputs: Arrays) -> dict[str, Count]:
    """Each node by itself, fed with what onnxruntime feeds it, by operator."""
    nodes = [n for n in model.graph.node if n.op_type != "Constant"]
    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = numpy_helper.to_array(node.attribute[0].t)
            constants[node.output[0]] = numpy_helper.from_array(value, node.output[0])
    names = [name for node in nodes for name in node.output if name]
    given = {i.name for i in model.graph.input}
    fed = {n: np.asarray(v) for n, v in inputs.items() if n in given}
    tensors = dict(zip(names, session(model, names).run(names, fed)))
    known = {**tensors, **fed}
    counts: dict[str, Count] = {}
    for node in nodes:
        wanted = [np.asarray(tensors[name]) for name in node.output if name]
        got = alone(model, node, known, constants)
        count = counts.setdefault(node.op_type, Count())
        count.nodes += 1
        for a, b in zip(got, wanted):
            different(count, a, b)
    return counts


def alone(model: Any, node: Any, known: Arrays, constants: Mapping[str, Any]) -> list[Any]:
    """A node's results by the meaning of ``kernel``."""
    read = [n for n in dict.fromkeys(node.input) if n]
    feeds = {n: np.asarray(known[n]) for n in read if n not in constants}
    integers = {n for n in feeds if feeds[n].dtype == np.int64}  # shapes, mostly
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in feeds.items()
    ]
    graph = helper.make_graph(
        [node], "one", infos, [helper.make_empty_tensor_value_info(n) for n in node.output if n],
        [constants[n] for n in read if n in constants],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    module = import_onnx(made, constants={n: feeds[n] for n in integers})
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


def print_agreement(names: Sequence[str], forms: Sequence[str]) -> None:
    """Rows: model, form, operator, and what differs."""
    print("| model | form | operator | nodes | elements | differ | at most |")
    print("|---|---|---|---|---|---|---|")
    for name, form, path in written(names, forms):
        inputs = first(folder() / f"{name}.npz")
        for op, c in agreement(onnx.load(path), inputs).items():
            most = f"{c.most:.0f}" if c.integer else f"{c.most:.1g} of largest"
            share = f"{c.differ:,}" + (
                f" ({100 * c.differ / c.elements:.4f} %)" if c.differ else ""
            )
            print(f"| {name} | {form} | {op} | {c.nodes} | {c.elements:,} | {share} | {most} |")


def first(path: Path) -> dict[str, Any]:
    """The arrays of a file."""
    with np.load(path) as file:
        return dict(file)


def written(names: Sequence[str], forms: Sequence[str]) -> Iterator[tuple[str, str, Path]]:
    """The forms of reference models, in files as long as they are looked at."""
    for name in names:
        path, cases = folder() / f"{name}.onnx", folder() / f"{name}.cases.npz"
        data = first(cases if cases.exists() else path.with_suffix(".npz"))
        for form in forms:
            with tempfile.TemporaryDirectory() as temporary:
                target = Path(temporary, f"{name}.onnx")
                try:
                    FORMS[form](path, data, target)
                except Exception as error:
                    print(f"| {name} | {form} | not made: {str(error).splitlines()[0]} | | | | |")
                    continue
                yield name, form, target


# -- accuracy -------------------------------------------------------------------------------------


def outputs_of(path: Path, inputs: Arrays) -> Any:
    """The first output by the meaning of ``kernel``."""
    return evaluate(import_onnx(path), {n: np.asarray(v) for n, v in inputs.items()})[0]


def networks() -> dict[str, Any]:
    """A perceptron, a convolutional network and a vision transformer for 8 x 8 images."""
    torch: Any = need("torch", "torch")
    nn = torch.nn

    class Transformer(nn.Module):
        def __init__(self, width: int = 48, heads: int = 4, layers: int = 2) -> None:
            super().__init__()
            self.cut = nn.Conv2d(1, width, 2, 2)
            self.place = nn.Parameter(0.02 * torch.randn(1, 16, width))
            self.heads = heads
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
            self.mix = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
            self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
            self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(layers))
            self.down = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(layers))
            self.head = nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            x = self.cut(x).flatten(2).transpose(1, 2) + self.place
            n, t, w = x.shape
            for i, (mix, out, up, down) in enumerate(zip(self.mix, self.out, self.up, self.down)):
                parts = mix(self.norms[2 * i](x)).reshape(n, t, 3, self.heads, w // self.heads)
                q, k, v = parts.permute(2, 0, 3, 1, 4)
                scores = q @ k.transpose(-1, -2) * (w // self.heads) ** -0.5
                x = x + out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, w))
                x = x + down(nn.functional.gelu(up(self.norms[2 * i + 1](x))))
            return self.head(x.mean(1))

    return {
        "MLP": lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
            nn.Linear(64, 10),
        ),
        "CNN": lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, stride=2),
            nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.ReLU(), nn.Flatten(),
            nn.Linear(512, 10),
        ),
        "ViT": Transformer,
    }  # fmt: skip


def trained(make: Callable[[], Any], x: Any, y: Any, epochs: int) -> Any:
    """A network after Adam on all of the data."""
    torch: Any = need("torch", "torch")
    torch.manual_seed(SEED)
    model = make()
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
    steps = epochs * -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def print_digits(epochs: int = 30, folds: int = 5) -> None:
    """Rows: network, form, digits that are read right in all folds together."""
    sklearn: Any = need("sklearn.datasets", "scikit-learn")
    torch: Any = need("torch", "torch")
    images, labels = sklearn.load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    order = np.random.default_rng(SEED).permutation(len(x))
    forms: dict[str, Form] = {
        "int8": ours(),
        "int8 around 0": ours(activations="i8"),
        "int8 per token": ours(per_token=True, activations="i8"),
        "int4 weights": ours(weights="i4", activations="none", block=16),
        "int4 weights, int8 per token": ours(
            weights="i4", per_token=True, activations="i8", block=16
        ),
    }
    print("| network | form | right of 1,797 | accuracy | against float |")
    print("|---|---|---|---|---|")
    for name, make in networks().items():
        right: dict[str, int] = {"float": 0} | dict.fromkeys(forms, 0)
        for fold in range(folds):
            held = order[fold::folds]
            rest = np.setdiff1d(order, held)
            model = trained(make, x[rest], labels[rest], epochs)
            with tempfile.TemporaryDirectory() as temporary:
                path, target = Path(temporary, "float.onnx"), Path(temporary, "made.onnx")
                export(path, model, {"x": torch.from_numpy(x[held])}, ["y"])
                count(right, "float", path, x[held], labels[held])
                data = {"x": x[rest][: len(held) * 2]}
                for form, write in forms.items():
                    try:
                        write(path, data, target)
                    except Exception as error:  # a network without rows has no form per token
                        right.pop(form, None)
                        print(f"| {name} | {form} | not made: {str(error).splitlines()[0]} | | |")
                        continue
                    count(right, form, target, x[held], labels[held])
        for form, n in right.items():
            rate, less = 100 * n / len(x), 100 * (n - right["float"]) / len(x)
            print(f"| {name} | {form} | {n:,} | {rate:.2f} % | {less:+.2f} points |", flush=True)


def count(right: dict[str, int], form: str, path: Path, x: Any, labels: Any) -> None:
    """Add the images whose label a model finds."""
    if form in right:
        right[form] += int((outputs_of(path, {"x": x}).argmax(1) == labels).sum())


def crops(size: int = 224, pictures: int = 12, each: int = 8) -> Any:
    """Seeded crops of scikit-image's colour pictures, as EfficientNet-Lite0 reads them."""
    skimage: Any = need("skimage", "scikit-image")
    image: Any = need("PIL.Image", "pillow")
    rng = np.random.default_rng(SEED)
    found: list[Any] = []
    files = sorted(
        p
        for p in (Path(skimage.__file__).parent / "data").iterdir()
        if p.suffix in (".png", ".jpg", ".jpeg")
    )
    for file in files:
        picture = image.open(file)
        if picture.mode != "RGB" or min(picture.size) < 200 or len(found) == pictures * each:
            continue
        for _ in range(each):
            side = int(min(picture.size) * rng.uniform(0.6, 1.0))
            left, top = (int(rng.integers(0, n - side + 1)) for n in picture.size)
            part = picture.crop((left, top, left + side, top + side)).resize((size, size), 3)
            pixels = (np.asarray(part, np.float32) - 127) / 128
            found.append(pixels.transpose(2, 0, 1)[None])
    return np.stack(found)


def print_crops(calibrating: int = 3) -> None:
    """Rows: form, how many crops have the label that the float model gives them."""
    name = "efficientnet-lite0"
    path, all_crops = folder() / f"{name}.onnx", crops()
    some = np.arange(len(all_crops)) % calibrating == 0
    data, held = {"image": all_crops[some]}, all_crops[~some]
    expected = ranked(path, held)
    print(f"{len(all_crops)} crops, {some.sum()} calibrate, {len(held)} are tried")
    print("| form | by | same label as float | float's label among the first five |")
    print("|---|---|---|---|")
    forms: dict[str, Form] = {
        "int8 (u8 activations)": ours(),
        "int8, entropy": ours(method="entropy"),
        "int8 around 0": ours(activations="i8"),
        "int4 weights": ours(weights="i4", activations="none"),
    }
    for form, write in forms.items():
        with tempfile.TemporaryDirectory() as temporary:
            target = Path(temporary, "made.onnx")
            write(path, data, target)
            for by, run in (("onnxruntime", ranked), ("kpu-ir", ranked_here)):
                if run is ranked_here and form != next(iter(forms)):
                    continue  # a simulation an image: of the default form
                got = run(target, held)
                same = np.mean([g[0] == e[0] for g, e in zip(got, expected)])
                five = np.mean([e[0] in g[:5] for g, e in zip(got, expected)])
                print(f"| {form} | {by} | {100 * same:.1f} % | {100 * five:.1f} % |", flush=True)


def ranked(path: Path, images: Any) -> list[Any]:
    """The labels of each image, the likeliest first, by onnxruntime."""
    there = session(onnx.load(path))
    return [np.argsort(-there.run(None, {"image": x})[0][0]) for x in images]


def ranked_here(path: Path, images: Any) -> list[Any]:
    """The same by the simulated machine."""
    from kpu_ir.pipeline import load

    program = load(path, search="none")
    return [np.argsort(-program({"image": x})["logits"][0]) for x in images]


def print_sentences() -> None:
    """Rows: form, the cosine of each sentence's embedding with the float one's, nearest neighbours."""
    path = folder() / "minilm.onnx"
    cases = calibration_of(onnx.load(path), first(folder() / "minilm.cases.npz"))
    float_ = embedded(session(onnx.load(path)), cases)
    print("| form | least cosine | mean | same nearest neighbour |")
    print("|---|---|---|---|")
    for form, write in {
        "W8A8 per token": FORMS["per token"],
        "i8 weights": ours(activations="none"),
        "i4 weights, blocks of 32": FORMS["i4 weights"],
        "i4 weights, blocks of 16": ours(weights="i4", activations="none", block=16),
        "i4 weights, i8 per token": ours(weights="i4", per_token=True, activations="i8"),
    }.items():
        with tempfile.TemporaryDirectory() as temporary:
            target = Path(temporary, "made.onnx")
            write(path, {}, target)
            module = import_onnx(target)
            got = np.concatenate([evaluate(module, case)[0] for case in cases])
        cosine = (got * float_).sum(1)  # both have length 1
        same = np.mean(nearest(got) == nearest(float_))
        print(
            f"| {form} | {cosine.min():.4f} | {cosine.mean():.4f} | {100 * same:.0f} % |",
            flush=True,
        )


def embedded(there: Any, cases: Sequence[Arrays]) -> Any:
    """Embeddings by onnxruntime."""
    return np.concatenate([there.run(None, dict(case))[0] for case in cases])


def nearest(vectors: Any) -> Any:
    """The nearest other sentence of each."""
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    return near.argmax(1)


def main() -> None:
    """Measure what is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["agree", "digits", "crops", "sentences"])
    parser.add_argument("names", nargs="*", help="agree: reference models (default: resnet18)")
    parser.add_argument("--form", action="append", choices=list(FORMS), help="default: all")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.what == "agree":
        print_agreement(args.names or ["resnet18"], args.form or list(FORMS))
    else:
        {"digits": print_digits, "crops": print_crops, "sentences": print_sentences}[args.what]()


if __name__ == "__main__":
    main()
