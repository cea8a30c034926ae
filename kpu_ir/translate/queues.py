"""A planned kernel as one queue of instructions an engine: the program's second form.

The nest of ``dma`` is one order of all operations. Here each engine has an order of its own, in
loops, and every instruction says what it waits for: its operands' slots, and how many accesses of a
ring the other engines must have begun before. Deferred transfers stand where they are issued.

How: the nest is walked as the simulator steps it, but with the trip of each loop as a symbol. A
loop's trip is walked once for good when it leaves the state (what is deferred, which slots are
touched, how often) as it found it, seen from the next trip; trips before that are written one by
one. Slots and counts are then sums of multiples of trips: a ring's k-th tile stands in slot k modulo
its depth. The size is that of the loops, not of the tiles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kpu_ir.dialects.tile import is_pinned
from kpu_ir.nest.records import Affine
from kpu_ir.sim.program.plan import (
    Acquire,
    Fetch,
    Loop,
    Matmul,
    Move,
    Node,
    Plan,
    Step,
    Write,
    place,
)
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.clock import Engine, engines_for, engines_of
from kpu_ir.sim.time.instructions import program_bytes
from kpu_ir.sim.time.prices import Prices
from kpu_ir.sim.time.timed_plan import costs_of
from kpu_ir.sim.time.wiring import Wire, Wiring
from kpu_ir.support.errors import KpuError
from kpu_ir.translate.items import Instruction, Item, Operation, Repeat, Wait, coefficient, put
from kpu_ir.translate.rolling import queue_of

MOST_ITEMS = 200_000
"""Instructions and loops of one kernel; more of them are no longer a text for people."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A plan as queues, by engine; one that only shares the instructions of one other has none.
    ``instructions``: bytes of its program that come once a call."""

    plan: Plan
    instructions: int
    operations: tuple[Operation, ...]
    queues: dict[str, tuple[Item, ...]]


def kernels_of(program: Program) -> tuple[list[Engine], list[Kernel]]:
    """The engines of a program, and its kernels. Raises ``KpuError`` for one that is too irregular."""
    wirings = [Wiring(plan, apart=True) for plan in program.plans]
    engines = engines_of(program.machine, (s for w in wirings for s in w.steps))
    prices = Prices(program.machine)
    return engines, [_kernel(w, prices, engines) for w in wirings]


def touched(operation: Operation) -> tuple[int, ...]:
    """The registers of tiles that an operation touches, in order: what it reads, sums that it adds to, its
    result."""
    wire, step = operation.wire, operation.step
    sums = (step.sums,) if isinstance(step, Matmul) and step.apart and step.accumulate else ()
    more = tuple(r for r in sums if r not in wire.reads)
    return (*wire.reads, *more, wire.target)


def _kernel(wiring: Wiring, prices: Prices, engines: list[Engine]) -> Kernel:
    machine, table = prices.machine, dict[int, Operation]()
    size = program_bytes(wiring.steps, machine)
    costs = costs_of(wiring, prices, size)
    for step, wire, cost in zip(wiring.steps, wiring.wires, costs):
        if cost is not None:
            held = tuple(engines_for(step, cost, engines))
            table[id(step)] = Operation(len(table), step, wire, cost, held)
    others = {id(s): w for s, w in zip(wiring.steps, wiring.wires) if id(s) not in table}
    items = _Walk(wiring, table, others).run()
    queues: dict[str, tuple[Item, ...]] = {}
    for engine in engines:
        leads = {o.number: o.held[0].engine is engine for o in table.values() if _holds(o, engine)}
        leaders = {o.held[0].engine.name for o in table.values() if o.number in leads}
        if len(leaders) > 1 or engine.name in leaders:
            queues[engine.name] = queue_of(items, leads)
    operations = tuple(table.values())
    once = size if size <= machine.control.memory_bytes else 0
    return Kernel(wiring.plan, once, operations, queues)


def _holds(operation: Operation, engine: Engine) -> bool:
    return any(h.engine is engine for h in operation.held)


# -- expressions ----------------------------------------------------------------------------------


def _later(e: Affine, var: int) -> Affine:
    """The same value where the symbol has become that of the next trip."""
    by = coefficient(e, var)
    return Affine(e.const - by, e.terms) if by else e


def _rising(e: Affine, var: int, by: int, first: int) -> Affine:
    """What rises by so much a trip, from the first one on."""
    return e + Affine(-by * first, ((var, by),)) if by else e


def _plus(e: Affine, n: int) -> Affine:
    return Affine(e.const + n, e.terms)


# -- walking --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Deferred:
    """An instruction in the queue: due after so many ticks; what it touches first and last."""

    due: int
    operation: Operation
    instruction: Instruction

    def replaced(self, change: Callable[[Affine], Affine]) -> _Deferred:
        """With other expressions."""
        i = self.instruction
        offsets, slots = tuple(map(change, i.offsets)), tuple(map(change, i.slots))
        return replace(self, instruction=replace(i, offsets=offsets, slots=slots))


@dataclass(slots=True)
class _State:
    """Tiles that each ring gave, accesses by what and engine, the tile of each register, registers whose
    slots nobody has used, and what is deferred."""

    given: dict[int, Affine]
    accesses: dict[tuple[str, str], Affine]
    tiles: dict[int, Affine] = field(default_factory=dict[int, Affine])
    fresh: frozenset[int] = frozenset()
    queue: tuple[_Deferred, ...] = ()

    def copy(self) -> _State:
        return _State(
            dict(self.given), dict(self.accesses), dict(self.tiles), self.fresh, self.queue
        )

    def replace(self, change: Callable[[Affine], Affine]) -> None:
        """Other expressions in place of all."""
        self.given = {r: change(e) for r, e in self.given.items()}
        self.accesses = {k: change(e) for k, e in self.accesses.items()}
        self.tiles = {r: change(e) for r, e in self.tiles.items()}
        self.queue = tuple(d.replaced(change) for d in self.queue)


Totals = tuple[Counter[int], Counter[tuple[str, str]]]
"""Tiles taken by ring, and accesses by what and engine, of one run of a block."""


class _Walk:
    """Issues what a plan does, in order, into ``out``."""

    def __init__(
        self, wiring: Wiring, table: dict[int, Operation], others: dict[int, Wire]
    ) -> None:
        self.wiring, self.plan, self.table, self.others = wiring, wiring.plan, table, others
        self.count = 0
        self.env: dict[int, Affine] = {}
        self.trip: dict[int, int] = {}
        self.decisive: set[int] = set()
        """Loops whose trip decided what was issued: what they do holds in that trip only."""
        self.known: dict[int, Totals] = {}
        self.rings = {r.index: r for r in self.plan.rings}
        names = [name for o in table.values() for name, _ in self._accesses(o)]
        engines = {o.held[0].engine.name for o in table.values()}
        self.users: dict[str, dict[str, bool]] = {name: {} for name in names}
        """Who touches what, and whether he writes."""
        for o in table.values():
            for name, writes in self._accesses(o):
                users, engine = self.users[name], o.held[0].engine.name
                users[engine] = users.get(engine, False) or writes
        zero = Affine(0)
        self.state = _State(
            dict.fromkeys(self.rings, zero),
            {(name, e): zero for name in names for e in sorted(engines)},
        )

    def _accesses(self, o: Operation) -> Iterator[tuple[str, bool]]:
        """What an operation touches, and whether it writes that. Tensors of one memory are one."""
        registers = touched(o)
        for i, register in enumerate(registers):
            ring = self.wiring.ring_of.get(register)
            if ring is None:
                buffer = self.plan.parameters[register - self.plan.values]
                name = "l3" if is_pinned(buffer) else "external"
                yield name, i == len(registers) - 1
            else:
                yield f"@{ring.name}", i == len(registers) - 1

    def run(self) -> list[Item]:
        out = self._block(self.plan.body)
        while self.state.queue:
            self._issue_first(out)
        return out

    # -- loops ------------------------------------------------------------------------------------

    def _block(self, nodes: Sequence[Node]) -> list[Item]:
        out: list[Item] = []
        for node in nodes:
            if isinstance(node, Loop):
                out += self._loop(node)
            else:
                self._step(node, out)
        return out

    def _loop(self, loop: Loop) -> list[Item]:
        """The trips of a loop, written one by one until one is like the next."""
        var, out, s = loop.var, list[Item](), self.state
        base = loop.start % loop.step
        first = (loop.start - base) // loop.step
        taken, accessed = self._totals(loop)
        # In the trip t of this loop a ring has given so many tiles more for each trip before.
        s.given = {r: _rising(e, var, taken[r], first) for r, e in s.given.items()}
        s.accesses = {k: _rising(e, var, accessed[k], first) for k, e in s.accesses.items()}
        self.env[var], outer, end = (
            Affine(base, ((var, loop.step),)),
            set(s.tiles),
            first + loop.trips,
        )
        for trip in range(first, end):
            self.trip[var] = trip
            self.decisive.discard(var)
            was = s.copy()
            body = self._block(loop.body)
            if loop.innermost and self.wiring.deferred:
                self._tick(body)
            s.tiles = {r: e for r, e in s.tiles.items() if r in outer}
            s.fresh = frozenset(r for r in s.fresh if r in outer)
            s.replace(lambda e: _later(e, var))
            again = s == was and var not in self.decisive
            out.append(Repeat(var, trip, end - trip if again else 1, tuple(body)))
            self._add(1)
            if again:
                break
        s.replace(lambda e: put(e, var, end))
        del self.env[var], self.trip[var]
        return out

    def _add(self, n: int) -> None:
        self.count += n
        if self.count > MOST_ITEMS:
            raise KpuError(
                f"@{self.plan.name} is too irregular to be written as queues of loops",
                self.plan.where,
                "leave out defer, or take tiles that divide the extents",
            )

    def _totals(self, loop: Loop) -> Totals:
        """What one trip takes and accesses."""
        if id(loop) not in self.known:
            taken, accessed = Counter[int](), Counter[tuple[str, str]]()
            for node in loop.body:
                if isinstance(node, Loop):
                    inner = self._totals(node)
                    for r, n in inner[0].items():
                        taken[r] += n * node.trips
                    for k, n in inner[1].items():
                        accessed[k] += n * node.trips
                    continue
                if isinstance(node, Fetch | Move | Acquire):
                    taken[node.ring.index] += 1
                operation = self.table.get(id(node))
                if operation is not None:
                    for name, _ in self._accesses(operation):
                        accessed[name, operation.held[0].engine.name] += 1
            self.known[id(loop)] = taken, accessed
        return self.known[id(loop)]

    # -- operations -------------------------------------------------------------------------------

    def _step(self, step: Step, out: list[Item]) -> None:
        operation, s = self.table.get(id(step)), self.state
        deferred = self.wiring.deferred
        wire = self.others[id(step)] if operation is None else operation.wire
        if wire.ring is not None:
            number = s.given[wire.ring]
            s.given[wire.ring] = _plus(number, 1)
            s.tiles[wire.target] = number
            s.fresh -= {wire.target}
            if operation is None:
                if wire.ring in deferred and wire.gate != "free":
                    self._settle(wire.ring, number, out)
                if wire.gate == "ready":
                    s.fresh |= {wire.target}
                return
        assert operation is not None
        instruction = self._instruction(operation)
        s.fresh -= set(touched(operation))
        later = wire.trips
        if later:
            if wire.ring in deferred:
                self._settle(wire.ring, s.tiles[wire.target], out)
            last = s.queue[-1].due if s.queue else 0
            s.queue += (_Deferred(max(later, last), operation, instruction),)
            return
        self._settle_all(operation, out)
        self._issue(operation, instruction, out)

    def _settle_all(self, operation: Operation, out: list[Item]) -> None:
        """Issue what is deferred on the slots that an operation touches now."""
        wire, ring_of = operation.wire, self.wiring.ring_of
        registers = list(wire.reads)
        if wire.gate == "free":
            registers.append(wire.target)
        for register in registers:
            ring = ring_of.get(register)
            if ring is not None and ring.index in self.wiring.deferred:
                self._settle(ring.index, self.state.tiles[register], out)

    def _instruction(self, operation: Operation) -> Instruction:
        step = operation.step
        offsets: tuple[Affine, ...] = ()
        if isinstance(step, Fetch | Move | Write):
            offsets = tuple(self._offset(o) for o in step.offsets)
        slots = tuple(self.state.tiles[r] for r in touched(operation) if r in self.wiring.ring_of)
        return Instruction(
            operation.number, offsets, slots, fresh=operation.wire.target in self.state.fresh
        )

    def _offset(self, offset: Affine) -> Affine:
        total = Affine(offset.const)
        for var, by in offset.terms:
            total += self.env[var].scaled(by)
        return total

    # -- what is deferred -------------------------------------------------------------------------

    def _settle(self, ring: int, number: Affine, out: list[Item]) -> None:
        while any(self._touches(d, ring, number) for d in self.state.queue):
            self._issue_first(out)

    def _touches(self, deferred: _Deferred, ring: int, number: Affine) -> bool:
        """Whether a deferred transfer reads or fills the slot of a ring's tile."""
        registers = [r for r in touched(deferred.operation) if r in self.wiring.ring_of]
        depth = self.rings[ring].depth
        for register, tile in zip(registers, deferred.instruction.slots):
            if self.wiring.ring_of[register].index == ring:
                apart = tile + number.scaled(-1)
                self.decisive |= {var for var, by in apart.terms if by % depth}
                if apart.at(self.trip) % depth == 0:
                    return True
        return False

    def _tick(self, out: list[Item]) -> None:
        s = self.state
        s.queue = tuple(replace(d, due=d.due - 1) for d in s.queue)
        while s.queue and s.queue[0].due <= 0:
            self._issue_first(out)

    def _issue_first(self, out: list[Item]) -> None:
        first, *rest = self.state.queue
        self.state.queue = tuple(rest)
        self._issue(first.operation, first.instruction, out)

    def _issue(self, operation: Operation, instruction: Instruction, out: list[Item]) -> None:
        own, counts = operation.held[0].engine.name, self.state.accesses
        waits: dict[tuple[str, str], Affine] = {}
        for name, writes in self._accesses(operation):
            for engine, also in self.users[name].items():
                if engine != own and (writes or also) and counts[name, engine] != Affine(0):
                    waits[name, engine] = counts[name, engine]
        out.append(replace(instruction, waits=tuple(Wait(w, e, n) for (w, e), n in waits.items())))
        for name, _ in self._accesses(operation):
            counts[name, own] = _plus(counts[name, own], 1)


def place_of_operation(operation: Operation) -> str | None:
    """Where the operation stands in the source."""
    return place(operation.step.op)
