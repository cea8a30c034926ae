"""How a tiling strategy writes its nest: one interface at the ``tile`` level."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from xdsl.ir import Attribute, Region

from kpu_ir.dialects.tile import Dataflow, Level, Reduction, Window

V = TypeVar("V")
"""A value of the back end: an index, a tensor, a tile."""


class Nest(ABC, Generic[V]):
    """Writes operations at a point that moves into loops and out of them.

    An index that is None is that of a loop of one trip: 0. A scalar body is a region whose block
    takes one scalar a tile and yields one; it stays its owner's, and is copied where it must be.
    """

    @abstractmethod
    def loop(self, extent: int, step: int, name: str, start: int = 0) -> V | None:
        """Open a loop over ``range(start, extent, step)``; None (and nothing) where it has one trip
        from 0."""

    @abstractmethod
    def close(self, loops: int = 1) -> None:
        """Leave the innermost loops."""

    @abstractmethod
    def affine(self, index: V | None, factor: int = 1, start: int = 0) -> V | int:
        """``start + factor * index``."""

    @abstractmethod
    def plus(self, a: V | None, b: V | None) -> V | None:
        """The sum of two indices."""

    @abstractmethod
    def load(
        self,
        source: V,
        indices: Sequence[int | V | None],
        shape: Sequence[int],
        element: Attribute,
        name: str,
        level: Level = Level.L2,
        reuse: Sequence[V | None] = (),
        permuted: Sequence[int] | None = None,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
        fill: float = 0.0,
        by: V | None = None,
        after: V | None = None,
    ) -> V:
        """``tile.load``; loops of ``reuse`` that are None have one trip."""

    @abstractmethod
    def alloc(
        self,
        shape: Sequence[int],
        element: Attribute,
        name: str,
        level: Level = Level.L2,
        reuse: Sequence[V | None] = (),
    ) -> V:
        """``tile.alloc``."""

    @abstractmethod
    def store(
        self,
        source: V,
        target: V,
        indices: Sequence[int | V | None],
        permuted: Sequence[int] | None = None,
        over: Sequence[V | None] = (),
    ) -> None:
        """``tile.store``."""

    @abstractmethod
    def matmul(
        self,
        dataflow: Dataflow,
        lhs: V,
        rhs: V,
        into: V,
        over: Sequence[V | None] = (),
        extra: Sequence[V] = (),
        epilogue: Region | None = None,
        window: Window | None = None,
    ) -> None:
        """``tile.matmul``."""

    @abstractmethod
    def map(self, inputs: Sequence[V], into: V, body: Region) -> None:
        """``tile.map``."""

    @abstractmethod
    def reduce(
        self,
        reduction: Reduction,
        source: V,
        into: V,
        axes: Sequence[int],
        over: Sequence[V | None] = (),
    ) -> None:
        """``tile.reduce``."""

    @abstractmethod
    def window(
        self,
        reduction: Reduction,
        window: Window,
        source: V,
        weights: V | None,
        into: V,
        extra: Sequence[V] = (),
        epilogue: Region | None = None,
    ) -> None:
        """``tile.window``."""


def present(values: Sequence[V | None]) -> list[V]:
    """The loops that there are: those of more than one trip."""
    return [v for v in values if v is not None]
