"""The banks of a memory on chip: what of their bandwidth an engine gets.

Addresses are interleaved over all banks of a level, each of which serves one access a cycle. Where its
engines together ask for more than the banks serve, their turns are dealt out by a fixed table: each has
what it takes at most, or as much as any other (max-min fair, what a round robin comes to where all ask).
So each is served in its own program order, whatever the others do: an operation's duration stays a
constant, and time max-plus.

A bank that served the accesses of *all* engines in program order would be max-plus too, but no hardware: a
prefetch would wait for what stands before it on other engines, and run ahead of nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from kpu_ir.machine import Machine

User = Literal["dma", "mover", "streamer", "vector"]

PORTS = 3 * 4
"""Bytes that a lane moves a cycle at most, where its ports have no limit: two operands and a result."""


def share(machine: Machine, level: Literal["l3", "l2"], user: User) -> Fraction | None:
    """Bytes a cycle of the banks of ``level`` that an engine (all its channels together) gets; None
    where banks have no limit."""
    l3, l2 = machine.l3, machine.l2
    served = (
        l3.tiles * l3.tile_bytes_per_cycle if level == "l3" else l2.banks * l2.bank_bytes_per_cycle
    )
    if not served:
        return None
    asked: dict[User, int] = {"mover": machine.bandwidth["mover"]}
    if level == "l3":
        asked["dma"] = machine.bandwidth["dma"]
    else:
        asked["streamer"] = machine.bandwidth["streamer"]
        asked["vector"] = machine.vector.bytes_per_cycle or PORTS * machine.vector.lanes
    return _left(served, tuple(asked.values()), list(asked).index(user))


@lru_cache(1 << 10)
def _left(served: int, asked: tuple[int, ...], user: int) -> Fraction:
    """What the others leave to one; every operation asks for it."""
    most = fair(served, asked)
    others = (n for i, n in enumerate(asked) if i != user)
    return Fraction(served) - sum(min(most, n) for n in others)


def fair(served: int, asked: Sequence[int]) -> Fraction:
    """What nobody gets more than where all ask for so much; of what is served there is enough else.

    >>> str(fair(256, [64, 128, 192])), str(fair(512, [64, 128, 192]))
    ('96', '320')
    """
    left = Fraction(served)
    for turn, n in enumerate(sorted(asked)):
        if left <= n * (len(asked) - turn):
            return left / (len(asked) - turn)
        left -= n
    return left + max(asked)
