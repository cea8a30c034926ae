"""Agreement of whole quantized networks with onnxruntime: what the simulated machine makes of the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from quantized_forms import first, session

from kpu_ir.integrations.quantize import calibration_of
from kpu_ir.pipeline import load

MOST_INPUTS = 4
"""Of a model, that are run from end to end."""

Row = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Whole:
    """Results of a model over all inputs. ``apart``: the largest difference, as a share of its result's range (largest
    less smallest of onnxruntime's); ``cosine``: the least of all rows (last axes); ``first``: rows whose largest
    element is the same one."""

    elements: int = 0
    equal: int = 0
    apart: float = 0.0
    cosine: float = 1.0
    rows: int = 0
    first: int = 0

    def add(self, got: Any, wanted: Any) -> None:
        """Count one result. Equal is bit for bit, but zeros of both signs are one."""
        assert got.shape == wanted.shape, (got.shape, wanted.shape)
        self.elements += got.size
        self.equal += int((got == wanted).sum())
        a, b = (np.asarray(x, np.float64).reshape(-1, x.shape[-1]) for x in (got, wanted))
        span = float(b.max() - b.min()) or 1.0
        self.apart = max(self.apart, float(np.abs(a - b).max()) / span)
        self.rows += len(a)
        self.first += int((a.argmax(1) == b.argmax(1)).sum())
        self.cosine = min(self.cosine, *(_cosine(x, y) for x, y in zip(a, b)))

    def __str__(self) -> str:
        return (
            f"{self.elements:,} | {100 * self.equal / self.elements:.2f} % | {100 * self.apart:.2g} % | "
            f"{self.cosine:.6f} | {self.first} of {self.rows}"
        )


def _cosine(a: Row, b: Row) -> float:
    both = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / both if both else float((a == b).all())


def inputs_of(path: Path) -> list[dict[str, Any]]:
    """The first inputs of a model: of its cases, where it has them."""
    cases = path.with_suffix(".cases.npz")
    if not cases.exists():
        return [first(path.with_suffix(".npz"))]
    return calibration_of(onnx.load(path), first(cases))[:MOST_INPUTS]


def whole(made: Path, inputs: Sequence[Mapping[str, Any]]) -> Whole:
    """A model on ``default`` with default schedules beside onnxruntime."""
    model = onnx.load(made)
    names = [o.name for o in model.graph.output]
    there, here, found = session(model), load(made, search="none"), Whole()
    for given in inputs:
        got = here(given)
        for name, wanted in zip(names, there.run(names, dict(given))):
            found.add(got[name], wanted)
    return found
