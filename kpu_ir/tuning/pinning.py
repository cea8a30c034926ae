"""Which tensors between kernels stay in L3, decided by simulating both.

A tensor that fits is tried in program order: the kernels that run from its first to its last use
are timed with it in L3, where it takes room from their tiles, and with it outside. Equal kernels
with equal neighbours are timed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, ModuleOp, NameLoc, i64
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from kpu_ir.dialects import kernel
from kpu_ir.lowering.kernel_to_tile import memref_of, recognise
from kpu_ir.lowering.schedule import L3_BYTES, PINNED
from kpu_ir.lowering.tile_to_dma import Span, highest, size_of
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.choice import Choice, Cost, better
from kpu_ir.tuning.choose import Choose
from kpu_ir.tuning.kept_constants import copy_constants
from kpu_ir.tuning.score import time_schedule

LEAST = 4
"""Tiles keep at least one part in so many of L3."""

LONGEST = 16
"""A tensor that more calls wait for stays outside: it would take room from all of them."""

ROOMS = 16
"""What is left to tiles is a whole number of so many parts of L3, so that equal kernels stay equal."""

GROUP = "tensor in L3"
"""What a choice of this kind is called."""

Prefer = Callable[[Cost, Cost, str], bool]
"""Whether the first is better than the second, for an objective."""


@dataclass(frozen=True, slots=True)
class _Pins:
    """What a kernel has in L3: which of its arguments and results, and how much is left."""

    pinned: tuple[int, ...]
    room: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor that a call makes and only calls use: ``uses`` are pairs of a call and a position
    among its arguments and results."""

    value: SSAValue
    bytes: int
    uses: tuple[tuple[int, int], ...]

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last call."""
        return self.uses[0][0], max(call for call, _ in self.uses)


def tensors_of(main: FuncOp, most: int) -> list[_Tensor]:
    """The tensors of at most ``most`` bytes that stand between calls, in the order in which they
    are made."""
    root: dict[SSAValue, SSAValue] = {}
    uses: dict[SSAValue, list[tuple[int, int]]] = {}
    calls = 0
    for op in main.body.block.ops:
        match op:
            case kernel.ReshapeOp():
                root[op.result] = root.get(op.source, op.source)
            case CallOp():
                for position, value in enumerate(op.arguments):
                    value = root.get(value, value)
                    if value in uses:
                        uses[value].append((calls, position))
                for position, result in enumerate(op.results, len(op.arguments)):
                    if size_of(memref_of(result.type)) <= most:
                        uses[result] = [(calls, position)]
                calls += 1
            case ReturnOp():
                for value in op.operands:
                    uses.pop(root.get(value, value), None)
            case _:
                pass
    return [
        _Tensor(value, size_of(memref_of(value.type)), tuple(found))
        for value, found in uses.items()
        if len(found) > 1
    ]


@dataclass
class _Decision:
    """What stands in L3 while each call runs, so far."""

    module: ModuleOp
    machine: Machine
    choose: Choose
    objective: str
    prefer: Prefer
    calls: list[CallOp] = field(default_factory=list[CallOp])
    pins: list[_Pins] = field(default_factory=list[_Pins])
    taken: list[Span] = field(default_factory=list[Span])
    costs: dict[tuple[str, _Pins], Cost | None] = field(
        default_factory=dict[tuple[str, _Pins], Cost | None]
    )

    def __post_init__(self) -> None:
        self.funcs = {op.sym_name.data: op for op in self.module.ops if isinstance(op, FuncOp)}
        self.main = self.funcs["main"]
        self.calls = [op for op in self.main.body.block.ops if isinstance(op, CallOp)]
        self.pins = [_Pins((), self.machine.l3.bytes)] * len(self.calls)

    def callee(self, call: int) -> str:
        """The name of a call's function."""
        return self.calls[call].callee.root_reference.data

    def variant(self, name: str, pins: _Pins) -> FuncOp:
        """A function as it is with tensors in L3."""
        func = self.funcs[name].clone()
        func.attributes[PINNED] = DenseArrayBase.from_list(i64, list(pins.pinned))
        func.attributes[L3_BYTES] = IntegerAttr(pins.room, i64)
        return func

    def cost(self, name: str, pins: _Pins) -> Cost | None:
        """What a kernel takes alone; None where it cannot be built."""
        key = name, pins
        if key not in self.costs:
            plain = pins == _Pins((), self.machine.l3.bytes)
            func = self.funcs[name] if plain else self.variant(name, pins)
            try:
                strategy = recognise(func)
                timing = time_schedule(func, strategy, self.choose(func, strategy), self.machine)
                self.costs[key] = Cost.of(timing)
            except KpuError:
                self.costs[key] = None
        return self.costs[key]

    def total(self, first: int, pins: Sequence[_Pins]) -> Cost | None:
        """What the calls from ``first`` on take, one after the other."""
        cycles = moved = 0
        for call, one in enumerate(pins, first):
            cost = self.cost(self.callee(call), one)
            if cost is None:
                return None
            cycles, moved = cycles + cost.cycles, moved + cost.bytes
        return Cost(cycles, moved, len(pins))

    def drop(self, call: CallOp) -> None:
        """Forget a call, which will not be there."""
        at = self.calls.index(call)
        del self.funcs[self.callee(at)], self.calls[at], self.pins[at]

    def weigh(self, tensor: _Tensor, copied: bool = False) -> Choice | None:
        """Keep a tensor in L3 if that is better; None where there is no room for it. ``copied``: of a
        constant, which is read where it is otherwise."""
        first, last = tensor.span
        room = self.machine.l3.bytes
        self.taken = [one for one in self.taken if one[3] >= first]  # they come in order
        at = highest(self.taken, room, tensor.bytes, first, last)
        if at < room // LEAST or (last - first > LONGEST and not copied):
            return None
        left = at // (room // ROOMS) * (room // ROOMS)
        now = self.pins[first : last + 1]
        then: list[_Pins] = []
        for call, one in enumerate(now, first):
            mine = (position for c, position in tensor.uses if c == call)
            then.append(_Pins(tuple(sorted({*one.pinned, *mine})), min(one.room, left)))
        apart, together = self.total(first + copied, now[copied:]), self.total(first, then)
        if apart is None:
            return None
        keep = together is not None and self.prefer(together, apart, self.objective)
        if keep:
            self.pins[first : last + 1] = then
            self.taken.append((at, at + tensor.bytes, first, last))
        why = "" if together else "a kernel reads or writes it in another order, or has no room"
        return Choice(GROUP, self.where(first, last), keep, together, apart, why, "pinning")

    def where(self, first: int, last: int) -> str:
        """The calls between which a tensor stands."""
        names: list[str] = []
        for call in (self.calls[first], self.calls[last]):
            place = call.location
            named = isinstance(place, NameLoc)
            names.append(place.desc.data if named else call.callee.root_reference.data)
        return " .. ".join(dict.fromkeys(names))

    def rewrite(self) -> None:
        """A function for each kernel and what it has in L3, called where it is."""
        plain = _Pins((), self.machine.l3.bytes)
        made: dict[tuple[str, _Pins], str] = {}
        for call, pins in zip(self.calls, self.pins):
            name = call.callee.root_reference.data
            if pins == plain:
                continue
            if (name, pins) not in made:
                func = self.variant(name, pins)
                made[name, pins] = new = f"{name}_pinned_{len(made)}"
                func.properties["sym_name"] = type(func.sym_name)(new)
                Rewriter.insert_op(func, InsertPoint.before(self.funcs[name]))
            call.properties["callee"] = type(call.callee)(made[name, pins])
        called = {call.callee.root_reference.data for call in self.calls}
        for name, func in self.funcs.items():
            if name != "main" and name not in called:
                func.detach()
                func.erase()


def pin(
    module: ModuleOp,
    machine: Machine,
    choose: Choose,
    objective: str,
    prefer: Prefer = better,
) -> list[Choice]:
    """Keep tensors between the kernels of an outlined module in L3 where that is better, as
    ``prefer`` says of what both ways take.

    A kernel that has any becomes a function of its own, with ``kpu.pinned`` and
    ``kpu.l3_bytes``; what was weighed is returned.
    """
    most = machine.l3.bytes - machine.l3.bytes // LEAST
    copies = {copy.result: copy for copy in copy_constants(module, most)}
    decision = _Decision(module, machine, choose, objective, prefer)
    choices: list[Choice | None] = []
    for tensor in tensors_of(decision.main, most):
        copied = tensor.value in copies
        choices.append(choice := decision.weigh(tensor, copied))
        if copied and choice is not None and choice.fuse:
            del copies[tensor.value]
    for copy in copies.values():
        decision.drop(copy.call)
        copy.undo()
    decision.rewrite()
    return [choice for choice in choices if choice is not None]
