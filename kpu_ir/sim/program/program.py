"""A ``dma`` module as the machine sees it: external buffers, and calls of planned kernels on
them."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    DictionaryAttr,
    MemRefType,
    ModuleOp,
    NameLoc,
    StringAttr,
)
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue

from kpu_ir.dialects import dma, tile
from kpu_ir.machine import Machine
from kpu_ir.sim.program.layout import (
    Standing,
    aligned,
    check_address,
    check_standing,
    room_of,
)
from kpu_ir.sim.program.plan import (
    MOST_OPERATIONS,
    Fetch,
    Plan,
    Write,
    element_bytes,
    executed,
    place,
    steps,
)
from kpu_ir.sim.program.planner import RingCounter, plan_function
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import at_call, place_of


@dataclass(frozen=True, slots=True)
class Buffer:
    """A tensor in external memory, or in L3 (``level``). ``kind``: ``input``, ``constant`` or
    ``temporary`` (results too)."""

    index: int
    name: str
    type: MemRefType
    bytes: int
    kind: str
    address: int
    value: DenseIntOrFPElementsAttr | DenseResourceAttr | None = None
    level: str = "external"


@dataclass(frozen=True, slots=True)
class Call:
    """One kernel on buffers, in order of its parameters. ``label`` is the node's name, if there is
    one; ``where`` is the place that messages name."""

    plan: Plan
    arguments: tuple[int, ...]
    label: str
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the program: its name, buffer and shape as the caller sees it."""

    name: str
    buffer: int
    type: MemRefType


@dataclass(frozen=True, slots=True, repr=False)
class Program:
    """What runs: buffers, calls in order, ports."""

    machine: Machine
    buffers: tuple[Buffer, ...]
    plans: tuple[Plan, ...]
    calls: tuple[Call, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __repr__(self) -> str:
        return f"<Program: {len(self.calls):,} calls, {len(self.buffers):,} buffers>"

    @property
    def external_bytes(self) -> int:
        """Bytes of external memory up to the last tensor: the most that is in use at any time."""
        ends = (b.address + b.bytes for b in self.buffers if b.level == "external")
        return max(ends, default=0)

    def check_count(self, instead: str) -> None:
        """Raise ``KpuError`` for a program whose operations take too long one by one."""
        counts = {plan.name: executed(plan.body) for plan in self.plans}
        total = sum(counts[call.plan.name] for call in self.calls)
        if total > MOST_OPERATIONS:
            most = max(self.calls, key=lambda call: counts[call.plan.name])
            raise KpuError(
                f"{total:,} operations one by one would take hours, @{most.plan.name} has most",
                most.where,
                instead,
            )

    def lifetimes(self) -> dict[int, tuple[int, int]]:
        """The first and the last call that need each buffer that any needs; inputs and constants
        are there from before the first, outputs to after the last."""
        last, first = sys.maxsize, -1
        spans = {b.index: (first, last) for b in self.buffers if b.kind != "temporary"}
        for at, call in enumerate(self.calls):
            for index in call.arguments:
                born, dies = spans.get(index, (at, at))
                spans[index] = (born, max(at, dies))
        for port in self.outputs:
            spans[port.buffer] = (spans.get(port.buffer, (first, last))[0], last)
        return spans


def _check_lifetimes(program: Program) -> None:
    """Tensors that share bytes are not needed at the same time, or ``KpuError``.

    What is written where another tensor stood waits for nobody: that is right while every transfer
    is striped over all channels, and so in program order.
    """
    spans = program.lifetimes()
    used = [b for b in program.buffers if b.index in spans and b.bytes]
    for level in ("external", "l3"):
        living: list[Buffer] = []  # by address; no two of them share bytes
        ends: list[tuple[int, int]] = []
        for buffer in sorted((b for b in used if b.level == level), key=lambda b: spans[b.index]):
            while ends and ends[0][0] < spans[buffer.index][0]:
                gone = program.buffers[heappop(ends)[1]]
                del living[bisect_left(living, gone.address, key=lambda b: b.address)]
            at = bisect_left(living, buffer.address, key=lambda b: b.address)
            for other in living[max(0, at - 1) : at + 1]:
                if (
                    other.address < buffer.address + buffer.bytes
                    and buffer.address < other.address + other.bytes
                ):
                    where = "external memory" if level == "external" else "L3"
                    raise KpuError(
                        f"tensors {other.name} and {buffer.name} share {where} from "
                        f"{max(other.address, buffer.address)}, and are needed at the same time",
                        hint="other addresses, or none: tile-to-dma gives them",
                    )
            living.insert(at, buffer)
            heappush(ends, (spans[buffer.index][1], buffer.index))
    shared, end = False, 0
    for buffer in sorted((b for b in used if b.level == "external"), key=lambda b: b.address):
        shared |= buffer.address < end
        end = max(end, buffer.address + buffer.bytes)
    if shared and any(
        isinstance(s, Fetch | Write) and s.channels is not None
        for plan in program.plans
        for s in steps(plan.body)
    ):
        raise KpuError(
            "tensors share external memory, and transfers are pinned to channels of the DMA",
            hint="leave out 'on', or give each tensor bytes of its own",
        )


def _check_residents(program: Program) -> None:
    """No tile takes the place of a tensor that stands in L3 while that is needed, or ``KpuError``."""
    spans = program.lifetimes()
    for buffer in program.buffers:
        if buffer.level != "l3" or buffer.index not in spans:
            continue
        first, last = spans[buffer.index]
        for call in program.calls[max(0, first) : last + 1]:
            for ring in call.plan.rings:
                end = ring.address + ring.slot_bytes * ring.depth
                if ring.level == "l3" and (
                    ring.address < buffer.address + buffer.bytes and buffer.address < end
                ):
                    raise KpuError(
                        f"ring @{ring.name} of @{call.plan.name} stands where {buffer.name} does, "
                        f"in L3 from {buffer.address}",
                        call.plan.place(ring),
                        "kpu.l3_bytes says how much of L3 a kernel's tiles may take",
                    )


def port_names(
    attrs: Sequence[Attribute] | None, hints: Sequence[str | None], stem: str
) -> list[str]:
    """The name of each argument or result: its ``kernel.name``, else that in the IR, else ``stem``
    and a number."""
    names = [hint or f"{stem}{i}" for i, hint in enumerate(hints)]
    for i, attr in enumerate(attrs or ()):
        if isinstance(attr, DictionaryAttr) and "kernel.name" in attr.data:
            name = attr.data["kernel.name"]
            assert isinstance(name, StringAttr)
            names[i] = name.data
    return names


def _fits(plan: Plan, machine: Machine) -> None:
    rings = [
        Standing(
            r.name, r.level, r.address, r.slot_bytes * r.depth, lambda r=r: plan.place(r)
        )
        for r in plan.rings
    ]  # fmt: skip
    check_standing(rings, plan.name, room_of(machine))


KINDS = {"constant": "a constant", "input": "the caller's"}
"""What a buffer is that a kernel may not write."""


def _address(op: tile.BufferOp | tile.ConstantOp) -> int | None:
    if op.address is None:
        return None
    check_address(op, op.address.value.data)
    return op.address.value.data


class _Loader:
    def __init__(self, funcs: dict[str, FuncOp], machine: Machine) -> None:
        self.funcs, self.machine = funcs, machine
        self.plans: dict[str, Plan] = {}
        self.rings = RingCounter()
        self.buffers: list[Buffer] = []
        self.values: dict[SSAValue, int] = {}
        self.end = 0
        self.top: int | None = None

    def plan(self, name: str, op: Operation) -> Plan:
        if name not in self.plans:
            if name not in self.funcs:
                raise KpuError(f"there is no function @{name}", place(op))
            with at_call(place_of(op)):
                plan = plan_function(self.funcs[name], self.rings)
                _fits(plan, self.machine)
            self.plans[name] = plan
        return self.plans[name]

    def buffer(
        self, name: str, type: Attribute, kind: str, address: int | None, **more: object
    ) -> int:
        if not isinstance(type, MemRefType):
            raise KpuError(f"%{name} is {type}: a dma program's tensors stand in memory")
        size = element_bytes(type.element_type, type.element_count())
        if tile.is_pinned(type):
            return self.pinned(name, type, size, address)
        at = self.end if address is None else address
        self.end = max(self.end, aligned(at + size))
        value = more.get("value")
        assert value is None or isinstance(value, DenseIntOrFPElementsAttr | DenseResourceAttr)
        self.buffers.append(Buffer(len(self.buffers), name, type, size, kind, at, value))
        return len(self.buffers) - 1

    def check_room(self) -> None:
        """Raise ``KpuError`` where the tensors do not fit the machine's external memory."""
        room = self.machine.external.bytes
        if self.end > room:
            raise KpuError(
                f"the tensors need {self.end} bytes of external memory, the machine has {room}",
                hint=f"a machine with external.bytes of {self.end} or more",
            )

    def pinned(self, name: str, type: MemRefType, size: int, address: int | None) -> int:
        """A tensor in L3; without an address, below those that have none either."""
        room = self.machine.l3.bytes
        at = address
        if at is None:
            at = self.top = (room if self.top is None else self.top) - (size + 63) // 64 * 64
        if at < 0 or at + size > room:
            raise KpuError(
                f"tensor {name} of {size} bytes at {at} of L3, which has {room}",
                hint="keep it in external memory, or a machine with more L3",
            )
        index = len(self.buffers)
        self.buffers.append(Buffer(index, name, type, size, "temporary", at, None, "l3"))
        return index

    def main(self, func: FuncOp) -> Program:
        block = func.body.block
        arg_attrs = func.arg_attrs.data if func.arg_attrs else None
        names = port_names(arg_attrs, [a.name_hint for a in block.args], "arg")
        inputs: list[Port] = []
        for arg, name in zip(block.args, names):
            self.values[arg] = self.buffer(name, arg.type, "input", None)
            inputs.append(Port(name, self.values[arg], self.buffers[-1].type))
        calls: list[Call] = []
        outputs: list[Port] = []
        for op in block.ops:
            match op:
                case tile.BufferOp():
                    at = _address(op)
                    name = op.result.name_hint or f"t{len(self.buffers)}"
                    self.values[op.result] = self.buffer(name, op.result.type, "temporary", at)
                case tile.ConstantOp():
                    at = _address(op)
                    name = op.result.name_hint or f"w{len(self.buffers)}"
                    index = self.buffer(name, op.result.type, "constant", at, value=op.value)
                    self.values[op.result] = index
                case tile.ViewOp():
                    self.values[op.result] = self.values[op.source]
                case CallOp():
                    plan = self.plan(op.callee.root_reference.data, op)
                    where = op.location
                    label = where.desc.data if isinstance(where, NameLoc) else plan.name
                    arguments = tuple(self.values[v] for v in op.arguments)
                    self.check_writes(plan, arguments, op)
                    calls.append(Call(plan, arguments, label, place_of(op)))
                case ReturnOp():
                    attrs = func.res_attrs.data if func.res_attrs else None
                    names = port_names(attrs, [None] * len(op.operands), "result")
                    for value, name in zip(op.operands, names):
                        type = SSAValue.get(value, type=MemRefType).type
                        outputs.append(Port(name, self.values[value], type))
                case _:
                    raise KpuError(
                        "this operation does not belong in a dma program's @main", place(op)
                    )
        self.check_room()
        for port in (*inputs, *outputs):
            if self.buffers[port.buffer].level == "l3":
                raise KpuError(f"'{port.name}' is the caller's, and cannot stand in L3")
        program = self.program(calls, inputs, outputs)
        _check_lifetimes(program)
        _check_residents(program)
        return program

    def check_writes(self, plan: Plan, arguments: Sequence[int], op: CallOp) -> None:
        """Raise ``KpuError`` for a call that writes what is not its to write."""
        for i in plan.writes:
            buffer = self.buffers[arguments[i]]
            if buffer.kind != "temporary":
                raise KpuError(
                    f"@{plan.name} writes %{buffer.name}, which is {KINDS[buffer.kind]}",
                    place_of(op),
                    "give it a tile.buffer",
                )

    def alone(self, plan: Plan, names: Sequence[str | None]) -> Program:
        """One kernel as a program: what it writes are its outputs."""
        self.plans[plan.name] = plan
        _fits(plan, self.machine)
        written = plan.writes
        inputs: list[Port] = []
        outputs: list[Port] = []
        for i, (given, type) in enumerate(zip(names, plan.parameters, strict=True)):
            name = given or f"arg{i}"
            index = self.buffer(name, type, "temporary" if i in written else "input", None)
            (outputs if i in written else inputs).append(Port(name, index, type))
        self.check_room()
        call = Call(plan, tuple(range(len(plan.parameters))), plan.name)
        program = self.program([call], inputs, outputs)
        if self.top is not None:
            _check_residents(program)
        return program

    def program(self, calls: list[Call], inputs: list[Port], outputs: list[Port]) -> Program:
        return Program(
            self.machine,
            tuple(self.buffers),
            tuple(self.plans.values()),
            tuple(calls),
            tuple(inputs),
            tuple(outputs),
        )


def load_program(module: ModuleOp, machine: Machine) -> Program:
    """Read a ``dma`` module. ``@main`` is the program; a module of one kernel is a program by
    itself.

    Raises ``KpuError`` where it does not fit the machine or is not a program.
    """
    funcs = {op.sym_name.data: op for op in module.ops if isinstance(op, FuncOp)}
    loader = _Loader(funcs, machine)
    if "main" in loader.funcs and not any(_is_kernel(loader.funcs["main"])):
        return loader.main(loader.funcs["main"])
    if len(loader.funcs) == 1:
        return kernel_program(next(iter(loader.funcs.values())), machine)
    raise KpuError("a program has a @main that calls its kernels, or is one kernel")


def kernel_program(func: FuncOp, machine: Machine) -> Program:
    """One ``dma`` kernel as a program by itself: what it writes are its outputs."""
    return program_of(plan_function(func), [a.name_hint for a in func.body.block.args], machine)


def program_of(plan: Plan, names: Sequence[str | None], machine: Machine) -> Program:
    """One planned kernel as a program by itself, its tensors called ``names``."""
    return _Loader({}, machine).alone(plan, names)


def check_rings(program: Program) -> None:
    """Raise ``KpuError`` where rings do not fit, or stand where tensors do that are in L3."""
    for plan in program.plans:
        _fits(plan, program.machine)
    _check_residents(program)


def planned_program(main: FuncOp, plans: Mapping[str, Plan], machine: Machine) -> Program:
    """A ``@main`` at the ``dma`` level that calls kernels by the names of their plans, whose rings
    have numbers of their own."""
    loader = _Loader({}, machine)
    for plan in plans.values():
        _fits(plan, machine)
    loader.plans.update(plans)
    return loader.main(main)


def _is_kernel(func: FuncOp) -> Iterator[bool]:
    return (
        op.name.startswith("dma.") or isinstance(op, tile.ForOp)
        for op in func.body.walk()
        if isinstance(op, dma.ProgramOp | tile.ForOp)
    )
