"""A ``dma`` function as a tree of operations whose extents are all known.

The IR keeps one nest; at the edges its tiles are clipped, in the first trip of a loop reused tiles
are fetched, in the last one an epilogue runs. ``planner`` makes each of these cases a body of
its own: a loop is cut into runs of trips that do the same (almost always: first, middle, last), so
that below here an operation has constant extents and a constant duration, and only its addresses
depend on the loops. Both models, of values and of time, are made from this tree.

A step is a record (``nest.records``: what is the same in all cases) and what a case says of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Generic, TypeVar, cast

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Attribute, Block, Operation

from kpu_ir.dialects.kernel import scalar_type
from kpu_ir.dialects.tile import Window
from kpu_ir.nest import records
from kpu_ir.nest.records import Affine, Ring, Shape, Tile
from kpu_ir.support.types import accumulator_type, bits_of, multiplied_as
from kpu_ir.text.places import place_of

__all__ = ["Affine", "Ring"]  # of ``nest.values``, part of a plan


@dataclass(slots=True, eq=False)
class Loop:
    """``trips`` trips that all do ``body``; the variable begins at ``start``."""

    var: int
    start: int
    step: int
    trips: int
    body: tuple[Node, ...]
    innermost: bool


R = TypeVar("R", bound=records.Record)
T = TypeVar("T", bound=records.Fetch | records.Move | records.Put | records.Write)
Result = (
    records.Put | records.Matmul | records.Map | records.Reduce | records.Rowwise | records.Windowed
)
W = TypeVar("W", bound=Result)
F = TypeVar("F", bound=records.Fetch | records.Move | records.Acquire)
Reader = (
    records.Move | records.Put | records.Write | records.Reduce | records.Rowwise | records.Windowed
)
S = TypeVar("S", bound=Reader)


@dataclass(slots=True, eq=False)
class Stepped(Generic[R]):
    """What all steps have: a record, and the extents of the block or of the result."""

    record: R
    extents: Shape

    @property
    def op(self) -> Operation:
        """The operation of the IR (where there is none: the record, which has a name as well)."""
        return cast(Operation, self.record.op or self.record)


class Transfer(Stepped[T]):
    """What moves a block."""

    __slots__ = ()

    @property
    def channels(self) -> Shape | None:
        """The channels that carry it; None: all."""
        return self.record.channels

    @property
    def defer(self) -> int:
        """The steps by which it is issued later than it stands."""
        return self.record.defer


class Filling(Stepped[F]):
    """What takes the next slot of a ring."""

    __slots__ = ()

    @property
    def ring(self) -> Ring:
        """The ring."""
        return self.record.out.ring

    @property
    def out(self) -> int:
        """The register of its tile."""
        return self.record.out.register


class Sourced(Stepped[S]):
    """What reads one tile above all."""

    __slots__ = ()

    @property
    def source(self) -> int:
        """The register of that tile."""
        return self.record.source.register


class Into(Stepped[W]):
    """What writes a result."""

    __slots__ = ()

    @property
    def into(self) -> int:
        """The register that it writes."""
        return self.record.into.register


@dataclass(slots=True, eq=False)
class Fetch(Transfer[records.Fetch], Filling[records.Fetch]):
    """External to L3, or a tensor in L3 to L2. ``moves`` is false where a reused tile is only taken up
    again.

    Where a block hangs into the padding, ``low`` is the padding before each dimension, and elements
    outside the tensor read as ``fill``; elsewhere ``low`` is None and offsets count from the tensor
    itself. ``inside`` are the extents of what is read, where they are others.
    """

    offsets: tuple[Affine, ...]
    moves: bool
    bytes: int
    low: Shape | None = None
    inside: Shape = ()

    @property
    def buffer(self) -> int:
        """The parameter that it reads."""
        return self.record.source.position

    @property
    def by(self) -> int | None:
        """The parameter that lists rows."""
        return None if self.record.by is None else self.record.by.position

    @property
    def fill(self) -> float:
        """What elements of the padding read as."""
        return self.record.fill

    @property
    def pinned(self) -> bool:
        """Whether the tensor stands in L3."""
        return self.record.source.pinned


@dataclass(slots=True, eq=False)
class Move(Transfer[records.Move], Filling[records.Move], Sourced[records.Move]):
    """Between L3 and L2. ``block`` are the extents in the source, which has ``within`` (or they are all of it),
    ``extents`` those in the result."""

    offsets: tuple[Affine, ...]
    block: Shape
    moves: bool
    bytes: int
    within: Shape = ()

    @property
    def permutation(self) -> Shape:
        """Dimension i of the result is this one of the block."""
        return self.record.permuted

    @property
    def inward(self) -> bool:
        """Whether it goes to L2."""
        return self.ring.level == "l2"


@dataclass(slots=True, eq=False)
class Acquire(Filling[records.Acquire | records.Move]):
    """The next slot of a ring, for a result, or for a move that has nothing to move yet.

    Where ``fresh`` is false it holds what an earlier trip left there; ``where`` are the variables
    of the loops around it over which nothing is reused (they say whose it is), None where nothing
    is.
    """

    fresh: bool = True
    where: tuple[Affine, ...] | None = None


@dataclass(slots=True, eq=False)
class Put(Transfer[records.Put], Into[records.Put], Sourced[records.Put]):
    """A whole tile from L2 into an acquired slot of L3."""

    bytes: int


@dataclass(slots=True, eq=False)
class Matmul(Into[records.Matmul]):
    """``into (+)= lhs @ rhs`` of ``batch`` products m x k by k x n; ``last``: the sum is finished, and
    its epilogue runs. With ``each``, one runs on every product, which is added then.

    Where partial sums have a tile of their own (``sums``), products write there, and only the last
    one ``into`` the result.
    """

    batch: int
    m: int
    n: int
    k: int
    accumulate: bool = False
    last: bool = True
    extra_bytes: int = 0

    @property
    def dataflow(self) -> str:
        """``os``, ``ws`` or ``is``."""
        return self.record.dataflow.short

    @property
    def lhs(self) -> int:
        """The register of the left operand."""
        return self.record.lhs.register

    @property
    def rhs(self) -> int:
        """The register of the right operand."""
        return self.record.rhs.register

    @property
    def extra(self) -> tuple[int, ...]:
        """The registers that the epilogue reads."""
        return tuple(t.register for t in self.record.extra) if self.ends else ()

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return (self.lhs, self.rhs, *self.extra)

    @property
    def epilogue(self) -> Block | None:
        """What runs on the results, if it runs."""
        return self.record.epilogue.block if self.ends and self.record.epilogue else None

    @property
    def each(self) -> bool:
        """Whether it is added to a sum after its epilogue."""
        return self.record.each

    @property
    def ends(self) -> bool:
        """Whether the epilogue, if there is one, runs."""
        return self.last or self.record.each

    @property
    def elements(self) -> tuple[Attribute, Attribute]:
        """The types of the left and of the right operand."""
        return self.record.lhs.element, self.record.rhs.element

    @property
    def multiplier(self) -> str:
        """The type that they are multiplied as, as the machine's tables call it."""
        return multiplied_as(*self.elements)

    @property
    def into(self) -> int:
        """The register that it writes."""
        return self.target.register

    @property
    def target(self) -> Tile:
        """The tile that it writes."""
        sums = self.record.sums
        return self.record.into if sums is None or self.last else sums

    @property
    def sums(self) -> int:
        """The register of what it adds to."""
        return (self.record.sums or self.record.into).register

    @property
    def apart(self) -> bool:
        """Whether it takes its sum from one tile and leaves it in another."""
        return self.record.sums is not None and self.last

    @property
    def out_element(self) -> Attribute:
        """The type of what it writes."""
        return self.target.element

    @property
    def sum_element(self) -> Attribute:
        """The type in which the array adds it up, and what it adds to without ``each``."""
        sums = self.record.sums
        return _finished(self.record) if sums is None else sums.element

    @property
    def window(self) -> Window | None:
        """The window by which the right operand is read."""
        return self.record.window


@dataclass(slots=True, eq=False)
class Map(Into[records.Map]):
    """``into = body(*inputs)`` over ``elements`` elements; bytes as read and written."""

    elements: int
    read_bytes: int
    written_bytes: int

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return tuple(t.register for t in self.record.inputs)

    @property
    def body(self) -> Block:
        """The function of one element."""
        return self.record.body.block


@dataclass(slots=True, eq=False)
class Reduce(Into[records.Reduce], Sourced[records.Reduce]):
    """``into`` = ``source`` combined along ``axes``; ``accumulate``: combined with what stands
    there."""

    elements: int
    accumulate: bool
    read_bytes: int
    written_bytes: int

    @property
    def kind(self) -> str:
        """How elements are combined."""
        return str(self.record.reduction.value)

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return (self.source,)

    @property
    def axes(self) -> Shape:
        """The dimensions that go."""
        return self.record.axes


@dataclass(slots=True, eq=False)
class Rowwise(Into[records.Rowwise], Sourced[records.Rowwise]):
    """``into`` = a function of the rows of ``source``, each of ``row`` elements along ``axis``."""

    elements: int
    row: int
    read_bytes: int
    written_bytes: int

    @property
    def function(self) -> str:
        """What is computed."""
        return str(self.record.what.value)

    @property
    def axis(self) -> int:
        """The dimension of the rows."""
        return self.record.axis

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return (self.source, *(() if self.record.by is None else (self.record.by.register,)))


@dataclass(slots=True, eq=False)
class Windowed(Into[records.Windowed], Sourced[records.Windowed]):
    """``into`` = the values of ``source`` under each position of a window, combined, weighted or
    not."""

    read_bytes: int
    written_bytes: int

    @property
    def kind(self) -> str:
        """How elements are combined."""
        return str(self.record.reduction.value)

    @property
    def window(self) -> Window:
        """The window."""
        return self.record.window

    @property
    def weights(self) -> int | None:
        """The register of the weights."""
        return None if self.record.weights is None else self.record.weights.register

    @property
    def extra(self) -> tuple[int, ...]:
        """The registers that the epilogue reads."""
        return tuple(t.register for t in self.record.extra)

    @property
    def operands(self) -> tuple[int, ...]:
        """The registers that it reads."""
        return (self.source, *(() if self.weights is None else (self.weights,)), *self.extra)

    @property
    def epilogue(self) -> Block | None:
        """What runs on the results."""
        return self.record.epilogue.block if self.record.epilogue else None

    @property
    def sum_element(self) -> Attribute:
        """The type in which it combines: sums have 32 bits at least."""
        return _finished(self.record)


@dataclass(slots=True, eq=False)
class Write(Transfer[records.Write], Sourced[records.Write]):
    """L3 to external, or L2 to a tensor in L3 (``pinned``)."""

    offsets: tuple[Affine, ...]
    bytes: int

    @property
    def buffer(self) -> int:
        """The parameter that it writes."""
        return self.record.target.position

    @property
    def pinned(self) -> bool:
        """Whether the tensor stands in L3."""
        return self.record.target.pinned


def _finished(record: records.Matmul | records.Windowed) -> Attribute:
    """The type of what an epilogue takes, which is that of the sum."""
    into = record.into.element
    if record.epilogue is None:
        return accumulator_type(into)
    kind = record.epilogue.block.args[0].type
    return into if scalar_type(into) == kind else kind


Vector = Map | Reduce | Rowwise | Windowed
TRANSFERS = (Fetch, Move, Put, Write)
FILLINGS = (Fetch, Move, Acquire)
"""Kinds of steps: tuples, for to ask for a union makes it anew each time."""
Step = Fetch | Move | Acquire | Put | Matmul | Vector | Write
Node = Loop | Step


def carrier(step: Fetch | Move | Put | Write) -> str:
    """The engines that carry a transfer: ``dma`` or ``mover``."""
    if isinstance(step, Fetch | Write) and not step.pinned:
        return "dma"
    return "mover"


@dataclass(frozen=True, slots=True)
class Plan:
    """A function, planned. ``where`` is its place, if it has one; ``tile_rings``: the ring of each
    tile register; ``writes``: the parameters that it writes; ``variables`` counts the loop
    variables."""

    name: str
    where: str | None
    rings: tuple[Ring, ...]
    body: tuple[Node, ...]
    parameters: tuple[MemRefType, ...]
    tile_rings: tuple[Ring, ...]
    writes: frozenset[int]
    variables: int

    @property
    def values(self) -> int:
        """How many tile registers there are."""
        return len(self.tile_rings)

    def place(self, ring: Ring) -> str | None:
        """Where a ring is declared, for messages."""
        return place_of(ring.op) if ring.op else self.where or f"@{self.name} (dma.ring)"


def steps(nodes: Sequence[Node]) -> Iterator[Step]:
    """Every operation of the tree, once."""
    for node in nodes:
        if isinstance(node, Loop):
            yield from steps(node.body)
        else:
            yield node


MOST_OPERATIONS = 1 << 32
"""That are executed one by one: more would take hours."""


def executed(nodes: Sequence[Node]) -> int:
    """How many operations are executed, each as often as its loops run."""
    return sum(n.trips * executed(n.body) if isinstance(n, Loop) else 1 for n in nodes)


def nested(nodes: Sequence[Node]) -> int:
    """How many loops stand inside each other at most."""
    return max((1 + nested(n.body) for n in nodes if isinstance(n, Loop)), default=0)


def rings_of(plan: Plan) -> dict[int, Ring]:
    """The ring of each register."""
    return dict(enumerate(plan.tile_rings))


def place(op: Operation | records.Record) -> str | None:
    """Where an operation stands, for messages."""
    return op.place if isinstance(op, records.Record) else place_of(op)


def element_bytes(element: Attribute, count: int) -> int:
    """Bytes of ``count`` elements, densely packed."""
    return (bits_of(element) * count + 7) // 8


def product(extents: Sequence[int]) -> int:
    """The number of elements."""
    return prod(extents)
