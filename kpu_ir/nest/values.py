"""What a nest is about: indices, tensors, tiles, rings of slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Attribute, Operation

from kpu_ir.dialects.tile import is_pinned
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of
from kpu_ir.text.places import place_of

ALIGNMENT = 64
"""Slots begin at multiples of this many bytes."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Affine:
    """``const + sum(coefficient * loop variable)``; variables are numbered by the function."""

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


@cache
def constant(n: int) -> Affine:
    """An offset that no loop changes."""
    return Affine(n)


@dataclass(slots=True, eq=False)
class Index:
    """A number that a nest counts with: the variable of loop ``var``, or (-1) what ``op`` makes of
    others.

    ``affine`` is None where that is no sum of multiples of loop variables: such an index is an
    error where it is used as an offset.
    """

    affine: Affine | None
    var: int = -1
    name: str | None = None
    op: Operation | None = None
    operands: tuple[Index, ...] = ()


def offset_of(index: int | Index) -> Affine:
    """An index as an offset."""
    if isinstance(index, int):
        return constant(index)
    if index.affine is None:
        raise KpuError(
            "an offset must be a sum of constants and multiples of loop variables",
            place_of(index.op),
        )
    return index.affine


@dataclass(slots=True, eq=False)
class Tensor:
    """A parameter of a function: a tensor in external memory, or in L3 where it is pinned."""

    position: int
    type: MemRefType
    name: str | None = None
    shape: Shape = field(init=False)
    bits: int = field(init=False)
    pinned: bool = field(init=False)

    def __post_init__(self) -> None:
        self.shape, self.bits = tuple(self.type.get_shape()), _bits(self.type.element_type)
        self.pinned = is_pinned(self.type)


@dataclass(slots=True, eq=False)
class Ring:
    """A queue of slots at one memory level (``l3`` or ``l2``), side by side from a byte address; a
    slot holds at most ``shape`` elements of ``bits`` each, its size is in bytes."""

    name: str
    shape: Shape
    element: Attribute
    level: str
    depth: int
    address: int = 0
    index: int = 0
    op: Operation | None = None
    bits: int = field(init=False)
    slot_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.bits = _bits(self.element)
        self.slot_bytes = -(-packed(self.bits, self.shape) // ALIGNMENT) * ALIGNMENT

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.depth * self.slot_bytes


@dataclass(slots=True, eq=False)
class Tile:
    """A block on chip, of at most ``shape`` elements, in a slot of its ring. ``register`` numbers
    the tiles of a function. ``room``: it is acquired, for a result; what it holds is written
    later."""

    register: int
    name: str | None
    shape: Shape
    ring: Ring
    room: bool = False

    @property
    def element(self) -> Attribute:
        """The type of its elements."""
        return self.ring.element


@cache
def _bits(element: Attribute) -> int:
    return bits_of(element)


def packed(bits: int, shape: Sequence[int]) -> int:
    """Bytes of a block, its elements densely packed."""
    return (bits * prod(shape) + 7) // 8
