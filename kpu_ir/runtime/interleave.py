"""Two programs as one: their kernels call by call, their loops trip by trip.

Engines are in order. Where one kernel is issued after another, its first fetch stands behind the last one of
the other, which waits for room on chip, and so for most of the other's work. Where their loops alternate,
each engine has work of both. Loops of n and m trips, n <= m, become one of n trips: a trip of the one, m / n
trips of the other; what is left over follows. Loops stay loops.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kpu_ir.nest import records
from kpu_ir.sim.program.plan import Loop, Node, Plan, executed, steps
from kpu_ir.sim.program.program import Call, Program


def ticks(nodes: Iterable[Node]) -> int:
    """How many innermost trips end: what deferred transfers count."""
    inside = ((n, ticks(n.body)) for n in nodes if isinstance(n, Loop))
    return sum(n.trips * (t + n.innermost) for n, t in inside)


def interleaved(first: Sequence[Node], second: Sequence[Node]) -> tuple[Node, ...]:
    """The operations of both, each in its order, so that both come to their ends together. What is
    deferred by trips is deferred by as many of its own as before."""
    a, b, out = list(first), list(second), list[Node]()
    while a and b:
        for nodes in (a, b):
            node = nodes[0]
            if not isinstance(node, Loop) or (node.trips == 1 and node.innermost):
                out.append(nodes.pop(0))
                break
            if node.trips == 1:
                nodes[:1] = node.body
                break
        else:
            x, y = _even(a, b)
            trips = min(x.trips, y.trips)
            out.append(_zipped(x, y, trips))
            for nodes, loop in ((a, x), (b, y)):
                head = nodes[0]
                assert isinstance(head, Loop)
                left = head.trips - loop.trips + loop.trips % trips
                nodes[:1] = [_part(head, left)] if left else []
    return (*out, *a, *b)


def _even(a: Sequence[Node], b: Sequence[Node]) -> tuple[Loop, Loop]:
    """The loops at the heads; of the one that is the larger share of what is left on its side, so many
    trips that the shares are equal."""
    x, y = a[0], b[0]
    assert isinstance(x, Loop)
    assert isinstance(y, Loop)
    shares = executed([x]) / executed(a), executed([y]) / executed(b)
    if shares[0] < shares[1]:
        return x, _part(y, max(1, round(y.trips * shares[0] / shares[1])))
    return _part(x, max(1, round(x.trips * shares[1] / shares[0]))), y


def _part(loop: Loop, trips: int) -> Loop:
    return Loop(loop.var, loop.start, loop.step, trips, loop.body, loop.innermost)


def _zipped(x: Loop, y: Loop, trips: int) -> Loop:
    """``trips`` trips of as many trips of each as go into it."""
    each = [loop.trips // trips for loop in (x, y)]
    bodies = [loop.body if n == 1 else (_part(loop, n),) for loop, n in zip((x, y), each)]
    ends = [n == 1 and loop.innermost for loop, n in zip((x, y), each)]
    for loop, ends_here, other in ((x, ends[0], bodies[1]), (y, ends[1], bodies[0])):
        inside = ticks(other)
        if ends_here and inside:  # a trip of its own is now so many more
            defer_more(loop.body, 1 + inside)
    return Loop(x.var, x.start, x.step, trips, interleaved(*bodies), any(ends))


def defer_more(nodes: Iterable[Node], times: int) -> None:
    """What is deferred by a trip is deferred by so many."""
    for record in {id(s.record): s.record for s in steps(list(nodes))}.values():
        if isinstance(record, records.Transfer):
            record.defer *= times


@dataclass(frozen=True)
class Merged:
    """Two programs as one: the calls of ``program`` are those of both; ``functions``: of the first."""

    program: Program
    first: Program
    second: Program


def merge(first: Program, second: Program) -> Merged:
    """Merge programs whose tiles do not meet on chip. Both are changed, and of no use afterwards."""
    values = max((p.values for p in first.plans), default=0)
    parameters = max((len(p.parameters) for p in first.plans), default=0)
    buffers, rings = (
        len(first.buffers),
        1 + max((r.index for p in first.plans for r in p.rings), default=0),
    )
    for plan in second.plans:
        _renumber(plan, values, parameters, rings)
    moved = tuple(replace(b, index=b.index + buffers) for b in second.buffers)
    second = replace(second, buffers=moved)
    plans: dict[tuple[str, str], Plan] = {}
    calls: list[Call] = []
    for number in range(max(len(first.calls), len(second.calls))):
        one = first.calls[number] if number < len(first.calls) else None
        two = second.calls[number] if number < len(second.calls) else None
        key = (one.plan.name if one else "", two.plan.name if two else "")
        if key not in plans:
            plans[key] = _joined(one and one.plan, two and two.plan, values, parameters)
        arguments = [*(one.arguments if one else ())]
        arguments += [0 if not one else one.arguments[0]] * (parameters - len(arguments))
        arguments += (a + buffers for a in two.arguments) if two else ()
        label = " and ".join(call.label for call in (one, two) if call)
        calls.append(Call(plans[key], tuple(arguments), label))
    whole = replace(
        first, buffers=(*first.buffers, *moved), plans=tuple(plans.values()), calls=tuple(calls)
    )
    return Merged(whole, first, second)


def _renumber(plan: Plan, values: int, parameters: int, rings: int) -> None:
    """Registers, parameters and rings of a plan behind those of another program."""
    functions = {id(s.record.function): s.record.function for s in steps(plan.body)}
    for function in functions.values():
        for tile in function.tiles:
            tile.register += values
        for tensor in function.tensors:
            tensor.position += parameters
    for ring in plan.rings:
        ring.index += rings


def _joined(one: Plan | None, two: Plan | None, values: int, parameters: int) -> Plan:
    """A plan of both; registers and parameters of the second stand behind ``values`` and
    ``parameters`` of the first, of which it may use fewer."""
    some = one or two
    assert some is not None
    tiles = list(one.tile_rings if one else ())
    kinds = list(one.parameters if one else ())
    if two:
        tiles += [two.tile_rings[0]] * (values - len(tiles)) + [*two.tile_rings]
        kinds += [two.parameters[0]] * (parameters - len(kinds)) + [*two.parameters]
    else:
        kinds += [kinds[0]] * (parameters - len(kinds))
    body = interleaved(one.body if one else (), two.body if two else ())
    return Plan(
        " and ".join(plan.name for plan in (one, two) if plan),
        some.where,
        (*(one.rings if one else ()), *(two.rings if two else ())),
        body,
        tuple(kinds),
        tuple(tiles),
        frozenset(),
        max(plan.variables for plan in (one, two) if plan),
    )
