"""What the scripts share: where files go, seeds, perturbation, export by torch."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SEED = 0
OPSET = 20


def folder() -> Path:
    """Where models are kept: ``$KPU_IR_MODELS``, else the user's cache folder."""
    given = os.environ.get("KPU_IR_MODELS")
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(given) if given else Path(root) / "kpu-ir" / "models"


def written(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file beside ``path``, then put it in its place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as inside:
        temporary = Path(inside) / path.name
        write(temporary)
        os.replace(temporary, path)


def save_inputs(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """An ``.npz`` file, whole; the same arrays give the same bytes."""
    written(path, lambda p: np.savez(p, **arrays))  # pyright: ignore[reportArgumentType]


def save_model(path: Path, model: Any) -> None:
    """An ONNX file, whole."""
    written(path, lambda p: p.write_bytes(model.SerializeToString(deterministic=True)) and None)


def perturb(model: Any, scale: float = 0.02) -> Any:
    """Move every parameter, and give each batch norm statistics.

    Fresh models have biases of 0 and scales of 1, which exporters and compilers remove: what is
    tested then is not the model.
    """
    import torch

    random = torch.Generator().manual_seed(SEED + 1)

    def noise(t: Any) -> Any:
        return torch.randn(t.shape, generator=random, dtype=t.dtype)

    with torch.no_grad():
        for parameter in model.parameters():
            wide = 5 * scale if parameter.ndim == 1 else scale
            if parameter.ndim > 1:  # in proportion to the weights, which are small where many add
                wide = min(scale, 0.5 * float(parameter.std()) if parameter.numel() > 1 else scale)
            parameter.add_(wide * noise(parameter))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.copy_(0.1 * noise(module.running_mean))
                module.running_var.copy_(torch.exp(0.2 * noise(module.running_var)))
    return model.eval()


def export(
    path: Path,
    model: Any,
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    opset: int = OPSET,
    legacy: bool = False,
) -> None:
    """Write ``model`` as ONNX, and ``inputs`` (torch tensors by name) as ``.npz`` beside it."""
    import logging
    import warnings

    import onnx
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)

    def write(temporary: Path) -> None:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                tuple(inputs.values()),
                str(temporary),
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=opset,
                dynamo=not legacy,
                external_data=False,
                verbose=False,
            )
        found = onnx.load(str(temporary))
        strip(found)
        temporary.write_bytes(found.SerializeToString(deterministic=True))

    written(path, write)
    save_inputs(path.with_suffix(".npz"), {k: v.numpy() for k, v in inputs.items()})


def strip(model: Any) -> None:
    """Remove what names the machine that exported: stack traces and paths."""
    for item in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del item.metadata_props[:]
    for item in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del item.metadata_props[:]
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]


def need(module: str, package: str) -> Any:
    """Import a module of an optional package, or say how to get it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        sys.exit(f"make.py: error: this model needs {package}: pip install 'kpu-ir[models]'")
