"""One engine's share of what a kernel issues, its repetitions as loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count

from kpu_ir.nest.records import Affine
from kpu_ir.translate.items import Instruction, Item, Repeat, put


def queue_of(items: Sequence[Item], leads: Mapping[int, bool]) -> tuple[Item, ...]:
    """The queue of an engine. ``leads``: of each operation that holds it, whether that runs on it (it only
    shares others)."""
    own = _rolled(list(_inlined(_of(items, leads))), count(-1, -1))
    return tuple(_pruned(own, {}))


def _of(items: Sequence[Item], leads: Mapping[int, bool]) -> list[Item]:
    """What concerns an engine, equal trips side by side as one loop; ``leads``: whether an operation
    that holds it runs on it."""
    out: list[Item] = []
    for item in items:
        if isinstance(item, Instruction):
            if item.operation in leads:
                leading = leads[item.operation]
                out.append(item if leading else Instruction(item.operation, (), ()))
            continue
        body = tuple(_of(item.body, leads))
        if not body:
            continue
        last = out[-1] if out else None
        if (
            isinstance(last, Repeat)
            and last.var == item.var
            and last.first + last.trips == item.first
            and last.body == body
        ):
            out[-1] = replace(last, trips=last.trips + item.trips)
        else:
            out.append(replace(item, body=body))
    return out


def _inlined(items: Sequence[Item]) -> Iterator[Item]:
    """Loops of one trip as what stands in them."""
    for item in items:
        if isinstance(item, Instruction):
            yield item
        elif item.trips == 1:
            yield from _inlined([_with(i, item.var, item.first) for i in item.body])
        else:
            yield replace(item, body=tuple(_inlined(item.body)))


LONGEST_PERIOD = 32
"""Instructions that are looked for as the body of a loop."""


def _rolled(items: list[Item], names: Iterator[int]) -> Iterator[Item]:
    """Instructions that follow each other in equal steps (three or more) as loops."""
    at = 0
    while at < len(items):
        item = items[at]
        if isinstance(item, Repeat):
            yield replace(item, body=tuple(_rolled(list(item.body), names)))
            at += 1
            continue
        period, trips, steps = _period(items, at)
        if trips < 3:
            yield item
            at += 1
            continue
        var = next(names)
        body = items[at : at + period]
        assert all(isinstance(i, Instruction) for i in body)
        yield Repeat(var, 0, trips, tuple(_stepped(i, var, by) for i, by in zip(body, steps)))  # pyright: ignore
        at += period * trips


def _period(items: list[Item], at: int) -> tuple[int, int, list[list[int]]]:
    """How many instructions from here are the body of a loop, of how many trips, and by what each
    of their numbers rises a trip."""
    best: tuple[int, int, list[list[int]]] = (1, 1, [])
    for period in range(1, min(LONGEST_PERIOD, (len(items) - at) // 3) + 1):
        steps = _steps(items[at : at + period], items[at + period : at + 2 * period])
        trips = 1
        while steps is not None:
            here = at + trips * period
            if _steps(items[here - period : here], items[here : here + period]) != steps:
                break
            trips += 1
        if steps is not None and trips >= 3 and trips * period > best[0] * best[1]:
            best = (period, trips, steps)
    return best


def _steps(before: Sequence[Item], after: Sequence[Item]) -> list[list[int]] | None:
    """By what the numbers of the same instructions differ; None where they are others."""
    if len(before) != len(after):
        return None
    steps: list[list[int]] = []
    for a, b in zip(before, after):
        if not (isinstance(a, Instruction) and isinstance(b, Instruction)):
            return None
        if (a.operation, a.fresh) != (b.operation, b.fresh):
            return None
        if [(w.what, w.engine) for w in a.waits] != [(w.what, w.engine) for w in b.waits]:
            return None
        pairs = list(zip(_numbers(a), _numbers(b), strict=True))
        if any(x.terms != y.terms for x, y in pairs):
            return None
        steps.append([y.const - x.const for x, y in pairs])
    return steps


def _numbers(i: Instruction) -> list[Affine]:
    return [*i.offsets, *i.slots, *(w.count for w in i.waits)]


def _stepped(i: Instruction, var: int, by: Sequence[int]) -> Instruction:
    """An instruction whose numbers rise with the trips of a loop."""
    new = [e + Affine(0, ((var, n),)) if n else e for e, n in zip(_numbers(i), by)]
    slots, waits = len(i.offsets), len(i.offsets) + len(i.slots)
    return replace(
        i,
        offsets=tuple(new[:slots]),
        slots=tuple(new[slots:waits]),
        waits=tuple(replace(w, count=n) for w, n in zip(i.waits, new[waits:])),
    )


def _pruned(items: Iterable[Item], known: dict[tuple[str, str], Affine]) -> Iterator[Item]:
    """Without waits for what an instruction before, here or around the loop, has waited for."""
    for item in items:
        if isinstance(item, Repeat):
            yield replace(item, body=tuple(_pruned(item.body, dict(known))))
            continue
        waits = tuple(w for w in item.waits if known.get((w.what, w.engine)) != w.count)
        known |= {(w.what, w.engine): w.count for w in waits}
        yield replace(item, waits=waits)


def _with(item: Item, var: int, value: int) -> Item:
    """With the trip of a loop known."""
    if isinstance(item, Repeat):
        return replace(item, body=tuple(_with(i, var, value) for i in item.body))
    return replace(
        item,
        offsets=tuple(put(e, var, value) for e in item.offsets),
        slots=tuple(put(e, var, value) for e in item.slots),
        waits=tuple(replace(w, count=put(w.count, var, value)) for w in item.waits),
    )
