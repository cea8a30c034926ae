"""A learned order of candidates: which of a kernel's schedules ``search=ranked`` times.

Gradient-boosted trees say by how much a candidate's time exceeds the least of its kernel, on a
logarithmic scale. They were trained on timed candidates (``kpu-bench train-ranking``) and stand in a file as plain
arrays: reading them takes NumPy only. They order, and decide nothing: what is chosen was timed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from kpu_ir.lowering.space import NAMES, Column, Space
from kpu_ir.machine import Machine

FILE = Path(__file__).parent / "data" / "ranking.npz"
"""The trees that ship, and what they were trained on."""

DIMENSIONS = 6
"""Of a tile; more are left out."""

KINDS = (
    "contraction", "convolution", "rows", "movement", "copying", "pooling", "attention",
    "back-to-back", "horizontal",
)  # fmt: skip
"""Kinds of kernels, by number."""

DEPTHS = ("depth", "l3_depth", "out_depth", "defer", "unroll_n")

MACHINE = (
    "fabric.rows", "fabric.columns", "vector.lanes", "vector.issue", "external.latency",
    "external.burst_bytes", "dma.channels", "dma.bytes_per_cycle", "dma.setup", "dma.run_cycles",
    "l3.bytes", "mover.channels", "mover.bytes_per_cycle", "l2.bytes", "streamer.bytes_per_cycle",
    "l1.bytes", "control.issue", "control.sync",
)  # fmt: skip
"""What of the machine is looked at."""

FEATURES = (
    "kind", *MACHINE, *(f"extent {i}" for i in range(DIMENSIONS)),
    *(f"tile {i}" for i in range(DIMENSIONS)), *(f"steps {i}" for i in range(DIMENSIONS)),
    *DEPTHS, *NAMES, "bound", "moved", "guess over bound", "moved over bound", "steps", "guess a step",
)  # fmt: skip


def features(space: Space, kind: str, machine: Machine) -> Any:
    """What the trees see of each candidate: a row of ``FEATURES``, counts as logarithms."""
    count = len(space)

    def log(values: Any) -> Any:
        return np.log2(1 + np.asarray(values, float))

    columns: list[Any] = [np.full(count, KINDS.index(kind) if kind in KINDS else -1)]
    for name in MACHINE:
        part, _, key = name.partition(".")
        columns.append(np.full(count, log(getattr(getattr(machine, part), key))))
    extents = (*space.extents, *([1] * DIMENSIONS))[:DIMENSIONS]
    tiles: list[Any] = [*space.tile, *([np.ones(count)] * DIMENSIONS)][:DIMENSIONS]
    steps = [np.ceil(n / np.minimum(t, n)) for n, t in zip(extents, tiles)]
    columns += [np.full(count, log(n)) for n in extents]
    columns += [log(np.minimum(t, n)) for n, t in zip(extents, tiles)]
    columns += [log(n) for n in steps]
    for name in DEPTHS:
        columns.append(space.columns.get(name, np.full(count, 1 if name == "unroll_n" else 2)))
    columns += [space.field(name) for name in NAMES]
    bound, guess = np.maximum(1, space.cycles), np.maximum(1, space.guess)
    least = space.bytes / machine.bandwidth["dma"]
    total = np.prod(steps, axis=0)
    columns += [log(bound), log(space.bytes), np.log2(guess / bound), np.log2((1 + least) / bound)]
    columns += [log(total), log(guess / total)]
    return np.column_stack([np.broadcast_to(c, (count,)) for c in columns]).astype(np.float32)


@dataclass(frozen=True)
class Trees:
    """Trees as arrays, one node after the other; ``roots``: where each begins. A leaf has no
    ``feature`` (-1), and its own number as both children."""

    roots: Any
    feature: Any
    threshold: Any
    left: Any
    right: Any
    value: Any
    base: float
    depth: int
    digest: str = ""

    def predict(self, rows: Any) -> Any:
        """The sum of the trees' leaves for each row."""
        at = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        here = np.arange(len(rows))[:, None]
        for _ in range(self.depth):
            goes = rows[here, self.feature[at]] <= self.threshold[at]
            at = np.where(goes, self.left[at], self.right[at])
        return self.base + self.value[at].sum(axis=1)

    def save(self, path: Path, **about: Any) -> None:
        """Write them; ``about``: what else is to stand there."""
        out = BytesIO()
        arrays = {n: getattr(self, n) for n in ("roots", "feature", "threshold", "left", "right")}
        np.savez_compressed(
            out, **arrays, value=self.value, base=self.base, depth=self.depth,
            features=np.array(FEATURES), **about,
        )  # fmt: skip
        path.write_bytes(out.getvalue())

    @staticmethod
    def load(path: Path = FILE) -> Trees:
        """Those of a file. Raises ``ValueError`` where they see other features than ``FEATURES``."""
        data = path.read_bytes()
        with np.load(BytesIO(data), allow_pickle=False) as file:
            if tuple(map(str, file["features"])) != FEATURES:
                raise ValueError(f"{path}: trained on other features; kpu-bench train-ranking")
            return Trees(
                file["roots"], file["feature"], file["threshold"], file["left"], file["right"],
                file["value"], float(file["base"]), int(file["depth"]), sha256(data).hexdigest()[:16],
            )  # fmt: skip


@lru_cache(maxsize=1)
def shipped() -> Trees:
    """The trees of the package."""
    return Trees.load()


CONSIDERED = 512
"""So many candidates are ordered: those with the least guesses."""


def ranked(space: Space, kind: str, machine: Machine, trees: Trees | None = None) -> Column:
    """Positions of the candidates that promise most by their guess, in the learned order."""
    if not len(space):
        return np.zeros(0, int)
    some = space.sorted(space.guess, space.bytes)[:CONSIDERED]
    chosen = space.at(some)
    scores = (trees or shipped()).predict(features(chosen, kind, machine))
    return some[np.argsort(scores, kind="stable")]  # equals as their guesses have them


def different(space: Space, order: Column, count: int) -> Sequence[int]:
    """The first ``count`` in an order, one of each tile, dataflow, order and layout before another of
    it."""
    found: dict[object, int] = {}
    for i in order:
        s = space.schedule(int(i))
        found.setdefault((s.tile, s.dataflow, s.order, s.layout), int(i))
        if len(found) == count:
            break
    return list(found.values())
