"""A ``dma`` function as a tree of operations whose extents are all known.

The IR keeps one nest; at the edges its tiles are clipped, in the first trip of a loop kept tiles
are fetched, in the last one an epilogue runs. ``planner`` makes each of these cases a body of
its own: a loop is cut into runs of trips that do the same (almost always: first, middle, last), so
that below here an operation has constant extents and a constant duration, and only its addresses
depend on the loops. Both readings, values and time, are compiled from this tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Attribute, Block, Operation

from kpu_ir.dialects import dma
from kpu_ir.dialects.tile import Window
from kpu_ir.support.types import bits_of
from kpu_ir.text.places import place_of


@dataclass(frozen=True, slots=True)
class Affine:
    """``const + sum(coefficient * loop variable)``; variables are numbered by the plan."""

    const: int
    terms: tuple[tuple[int, int], ...] = ()

    def __add__(self, other: Affine) -> Affine:
        merged = dict(self.terms)
        for var, coefficient in other.terms:
            merged[var] = merged.get(var, 0) + coefficient
        terms = tuple(sorted((v, c) for v, c in merged.items() if c))
        return Affine(self.const + other.const, terms)

    def scaled(self, factor: int) -> Affine:
        """This times an integer."""
        return Affine(self.const * factor, tuple((v, c * factor) for v, c in self.terms if factor))

    def at(self, env: dict[int, int]) -> int:
        """The value where the variables are ``env``."""
        return self.const + sum(c * env[v] for v, c in self.terms)


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring of slots: ``level`` is ``l3`` or ``l2``, sizes in bytes."""

    index: int
    name: str
    level: str
    address: int
    slot_bytes: int
    depth: int
    element: Attribute
    op: Operation


@dataclass(frozen=True, slots=True)
class Loop:
    """``trips`` trips that all do ``body``; the variable begins at ``start``."""

    var: int
    start: int
    step: int
    trips: int
    body: tuple[Node, ...]
    innermost: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """External to L3, or a tensor in L3 to L2. ``moves`` is false where a kept tile is only taken up
    again.

    Where a block hangs into the padding, ``low`` is the padding before each dimension, and elements
    outside the tensor read as ``fill``; elsewhere ``low`` is None and offsets count from the tensor
    itself.
    """

    op: Operation
    buffer: int
    offsets: tuple[Affine, ...]
    extents: tuple[int, ...]
    ring: Ring
    out: int
    channels: tuple[int, ...] | None
    moves: bool
    bytes: int
    low: tuple[int, ...] | None = None
    fill: float = 0.0
    by: int | None = None

    @property
    def pinned(self) -> bool:
        """Whether the tensor stands in L3."""
        return self.ring.level == "l2"


@dataclass(frozen=True, slots=True)
class Move:
    """Between L3 and L2. ``block`` are the extents in the source, ``extents`` in the result."""

    op: Operation
    source: int
    offsets: tuple[Affine, ...]
    block: tuple[int, ...]
    extents: tuple[int, ...]
    ring: Ring
    out: int
    permutation: tuple[int, ...]
    channels: tuple[int, ...] | None
    defer: int
    moves: bool
    bytes: int
    inward: bool


@dataclass(frozen=True, slots=True)
class Acquire:
    """The next slot of a ring, for a result.

    Where ``fresh`` is false it holds what an earlier trip left there; ``where`` are the variables
    of the loops around it over which nothing is kept (they say whose it is), None where nothing is.
    """

    op: Operation
    ring: Ring
    out: int
    extents: tuple[int, ...]
    fresh: bool = True
    where: tuple[Affine, ...] | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """A whole tile from L2 into an acquired slot of L3."""

    op: Operation
    source: int
    into: int
    extents: tuple[int, ...]
    channels: tuple[int, ...] | None
    defer: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Matmul:
    """``into (+)= lhs @ rhs`` of ``batch`` products m x k by k x n; ``last``: the epilogue runs."""

    op: dma.MatmulOp
    dataflow: str
    lhs: int
    rhs: int
    into: int
    extra: tuple[int, ...]
    extents: tuple[int, ...]
    batch: int
    m: int
    n: int
    k: int
    accumulate: bool
    epilogue: Block | None
    element: Attribute
    out_element: Attribute
    extra_bytes: int
    window: Window | None = None

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return (self.lhs, self.rhs, *self.extra)


@dataclass(frozen=True, slots=True)
class Map:
    """``into = body(*inputs)`` over ``elements`` elements; bytes as read and written."""

    op: dma.MapOp
    inputs: tuple[int, ...]
    into: int
    extents: tuple[int, ...]
    elements: int
    body: Block
    read_bytes: int
    written_bytes: int

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return self.inputs


@dataclass(frozen=True, slots=True)
class Reduce:
    """``into`` = ``source`` combined along ``axes``; ``accumulate``: combined with what stands
    there."""

    op: dma.ReduceOp
    kind: str
    source: int
    into: int
    axes: tuple[int, ...]
    extents: tuple[int, ...]
    elements: int
    accumulate: bool
    read_bytes: int
    written_bytes: int

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return (self.source,)


@dataclass(frozen=True, slots=True)
class Windowed:
    """``into`` = the values of ``source`` under each position of a window, combined, weighted or
    not."""

    op: dma.WindowOp
    kind: str
    window: Window
    source: int
    weights: int | None
    extra: tuple[int, ...]
    into: int
    extents: tuple[int, ...]
    epilogue: Block | None
    read_bytes: int
    written_bytes: int

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return (self.source, *(() if self.weights is None else (self.weights,)), *self.extra)


@dataclass(frozen=True, slots=True)
class Write:
    """L3 to external, or L2 to a tensor in L3 (``pinned``)."""

    op: Operation
    source: int
    buffer: int
    offsets: tuple[Affine, ...]
    extents: tuple[int, ...]
    channels: tuple[int, ...] | None
    defer: int
    bytes: int
    pinned: bool = False


Vector = Map | Reduce | Windowed
Step = Fetch | Move | Acquire | Put | Matmul | Vector | Write
Node = Loop | Step


def carrier(step: Fetch | Move | Put | Write) -> str:
    """The engines that carry a transfer: ``dma`` or ``mover``."""
    if isinstance(step, Fetch | Write) and not step.pinned:
        return "dma"
    return "mover"


@dataclass(frozen=True, slots=True)
class Plan:
    """A function, planned. ``values`` counts the tile registers, ``variables`` the loop
    variables."""

    name: str
    rings: tuple[Ring, ...]
    body: tuple[Node, ...]
    parameters: tuple[MemRefType, ...]
    values: int
    variables: int


def steps(nodes: Sequence[Node]) -> Iterator[Step]:
    """Every operation of the tree, once."""
    for node in nodes:
        if isinstance(node, Loop):
            yield from steps(node.body)
        else:
            yield node


def rings_of(plan: Plan) -> dict[int, Ring]:
    """The ring of each register."""
    return {s.out: s.ring for s in steps(plan.body) if isinstance(s, Fetch | Move | Acquire)}


place = place_of
"""Where an operation stands, for messages."""


def element_bytes(element: Attribute, count: int) -> int:
    """Bytes of ``count`` elements, densely packed."""
    return (bits_of(element) * count + 7) // 8


def product(extents: Sequence[int]) -> int:
    """The number of elements."""
    n = 1
    for e in extents:
        n *= e
    return n
