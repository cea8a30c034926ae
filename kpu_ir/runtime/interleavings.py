"""Other legal orders of the same operations, on real values: what a race detector must never find.

Each operation has a vector clock. An order is legal if no operation stands before one that it comes
after. Operations are done again on memory of zeros, in the order in which they were launched and in
others that are drawn; what they leave is compared byte by byte.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from kpu_ir.runtime.base import Array, Request
from kpu_ir.runtime.stream import Race

Logged = tuple[Request, int, Mapping[int, int]]
"""An operation, its stream, its vector clock."""


def comes_after(later: Logged, earlier: Logged) -> bool:
    """Whether an operation may only be done after another."""
    return later[2].get(earlier[1], 0) >= earlier[2][earlier[1]]


def drawn(logged: Sequence[Logged], source: random.Random) -> list[int]:
    """A legal order: of the first operation that is left of each stream, one that comes after none
    that is left."""
    queues: dict[int, list[int]] = {}
    for number, (_, stream, _) in enumerate(logged):
        queues.setdefault(stream, []).append(number)
    order: list[int] = []
    while queues:
        heads = [queue[0] for queue in queues.values()]
        free = [
            n for n in heads if not any(comes_after(logged[n], logged[m]) for m in heads if m != n)
        ]
        chosen = source.choice(free)
        order.append(chosen)
        stream = logged[chosen][1]
        queues[stream].pop(0)
        if not queues[stream]:
            del queues[stream]
    return order


def check_orders(logged: Sequence[Logged], count: int, seed: int) -> int:
    """Do what was ``logged`` in ``count`` drawn orders. Yields how many of them were not the first one.

    Raises ``Race`` with two operations whose order matters.
    """
    memory: dict[int, Array] = {}
    for request, _, _ in logged:
        for region in (*request.reads, *request.writes):
            memory[id(region.allocation)] = region.allocation.data
    before = {key: data.copy() for key, data in memory.items()}
    source = random.Random(seed)

    def done(order: Sequence[int]) -> dict[int, Array]:
        for key, data in memory.items():
            data[:] = before[key] if key in given else 0
        for number in order:
            logged[number][0].run()
        return {key: data.copy() for key, data in memory.items()}

    given = {
        id(region.allocation)
        for request, _, _ in logged
        for region in request.reads
        if region.allocation.span is None
    }
    others = 0
    try:
        expected = done(range(len(logged)))
        for _ in range(count):
            order = drawn(logged, source)
            others += order != list(range(len(logged)))
            found = done(order)
            for key, data in found.items():
                if not (data == expected[key]).all():
                    raise _race(logged, order, key)
    finally:
        for key, data in memory.items():
            data[:] = before[key]
    return others


def _race(logged: Sequence[Logged], order: Sequence[int], key: int) -> Race:
    """The first two operations on an allocation that stand in another order, of which one writes."""
    place = {number: at for at, number in enumerate(order)}
    touching = [
        (n, any(id(r.allocation) == key for r in request.writes), request.what)
        for n, (request, _, _) in enumerate(logged)
        if any(id(r.allocation) == key for r in (*request.reads, *request.writes))
    ]
    for at, (first, writes, what) in enumerate(touching):
        for second, also, other in touching[at + 1 :]:
            if (writes or also) and place[second] < place[first]:
                return Race(
                    f"the order of {what} (operation {first}) and {other} (operation {second}) "
                    "changes what they leave",
                    hint="stream.wait(event) puts one after the other",
                )
    raise AssertionError("values differ, and no operations that could have made them differ")
