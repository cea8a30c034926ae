"""A block of a tensor as runs of contiguous bits: how many there are, where they begin, and how many
units of memory (bursts, words, rows) they enter.

Of a block of 4 x 8 of a tensor of 10 x 16 elements of 32 bits, the runs are 4 of 256 bits, one
every 512 bits. Where a run begins is known as far as shapes and loops say so: at ``offset``, up to
multiples of ``grain``. A tensor begins at a multiple of 64 bytes (``BASE``), and no more is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, prod
from typing import NamedTuple

from kpu_ir.nest.records import Affine, Shape

BASE = 64 * 8
"""Bits: a tensor, and a slot, begin at a multiple of them."""


class Runs(NamedTuple):
    """Runs of ``bits`` each. ``counts``: how many stand beside each other, and how many bits lie from
    one to the next, from the inside outwards. ``scattered``: where they stand depends on data."""

    bits: int
    counts: tuple[tuple[int, int], ...] = ()
    offset: int = 0
    grain: int = 0
    scattered: bool = False

    @property
    def number(self) -> int:
        """How many there are."""
        return prod(n for n, _ in self.counts)

    def entered(self, unit: int) -> Fraction:
        """Units of so many bits that one run enters, on average over the places where it may begin."""
        return entered(self.bits, unit, self.offset, self.grain)


@lru_cache(maxsize=1 << 14)
def entered(bits: int, unit: int, offset: int = 0, grain: int = 0) -> Fraction:
    """The units that a run of ``bits`` enters, on average over beginnings at ``offset`` plus any
    multiple of ``grain``.

    >>> entered(256, 256), entered(256, 256, 64), entered(256, 256, 0, 128)
    (Fraction(1, 1), Fraction(2, 1), Fraction(3, 2))
    """
    if unit > BASE:
        grain = gcd(grain, BASE)
    step = gcd(grain, unit) if grain else unit
    first, places = offset % step, unit // step
    whole, rest = divmod(bits, unit)
    # A run that begins at o enters whole + ceil((o + rest) / unit) units, for o = first + i * step.
    inside = min(places, max(0, (unit - rest - first) // step + 1))  # how many o + rest <= unit
    nothing = 1 if rest == first == 0 else 0
    return whole + Fraction(inside - nothing + 2 * (places - inside), places)


def runs_of(
    shape: Shape,
    extents: Shape,
    bits: int,
    offsets: Sequence[Affine] = (),
    loops: Sequence[range] = (),
    scattered: int | None = None,
    kept: int = 0,
) -> Runs:
    """The runs of a block of ``extents`` of a dense tensor of ``shape``, elements of ``bits``.

    ``offsets`` say where it begins, in variables of ``loops``. Along the dimension ``scattered``
    elements are chosen by a list. The first ``kept`` dimensions are not joined into longer runs. A block
    that is nothing but padding has no runs (``bits`` is 0).
    """
    if 0 in extents:
        return Runs(0)
    strides = [bits] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    length, counts, joined = bits, list[tuple[int, int]](), True
    for axis in range(len(shape) - 1, -1, -1):
        n = extents[axis]
        if axis == scattered or axis < kept:
            joined = False
        if joined:
            length *= n
            joined = n == shape[axis]
        elif n > 1:
            counts.append((n, strides[axis]))
    offset, grain = 0, 0
    for at, stride in zip(offsets, strides):
        offset += at.const * stride
        for var, coefficient in at.terms:
            bounds = loops[var]
            offset += coefficient * bounds.start * stride
            if len(bounds) > 1:
                grain = gcd(grain, coefficient * bounds.step * stride)
    for n, pitch in counts:
        grain = gcd(grain, pitch)
    if scattered is not None:
        grain = gcd(grain, strides[scattered])
    return Runs(length, tuple(counts), offset, grain, scattered is not None)
