"""The interpretation for values.

The same tree that is timed is compiled to closures over NumPy arrays: on slots, operation by
operation (``values_slots.py``), or, where it is proven that this gives the same
(``values_proof.py``), on whole tensors (``values_wide.py``, ``values_plain.py``). Nothing here knows
of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kpu_ir.sim.program.plan import Plan
from kpu_ir.sim.program.program import Call, Program
from kpu_ir.sim.values.plain import PlainRunner
from kpu_ir.sim.values.proof import proven
from kpu_ir.sim.values.runner import Array
from kpu_ir.sim.values.slots import Memory, SlotRunner
from kpu_ir.sim.values.wide import widen
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import array_of, dtype_of
from kpu_ir.text.places import at_call

NOTHING = np.empty(0, np.bool_)
"""Of a tensor that no call has written yet, and its mask; or that none needs any more."""


KEPT = 31 << 20
"""Bytes of an array that is made and freed once, untouched: then glibc keeps that of freed arrays which
are smaller, instead of giving their pages back to the system, to be asked for in the next kernel
(a sixth of the time of a small network)."""


class ValueModel:
    """A program compiled for values. Weights are read once; ``run`` may be called again and
    again."""

    def __init__(self, program: Program, stepped: bool = False) -> None:
        """Compile ``program``; with ``stepped`` every kernel runs operation by operation on slots,
        also where it is proven that plain values give the same up to rounding."""
        self.program, self.stepped = program, stepped
        program.check_count("ask for time only (--no-values)")
        self.memory = Memory(program.machine)
        np.empty(KEPT, np.uint8)
        self.slots: dict[str, SlotRunner] = {}
        self.plain: dict[str, PlainRunner | None] = {}
        self.shapes = {p.name: [tuple(t.get_shape()) for t in p.parameters] for p in program.plans}
        self.last_needed: dict[int, list[int]] = {}
        """The tensors that no call after one needs, by its number."""
        for index, (_, last) in program.lifetimes().items():
            self.last_needed.setdefault(last, []).append(index)
        self.constants = {
            b.index: np.ascontiguousarray(array_of(b.value))
            for b in program.buffers
            if b.value is not None
        }

    def run(
        self,
        inputs: Mapping[str, Array],
        observe: Callable[[int, Sequence[Array]], None] | None = None,
    ) -> dict[str, Array]:
        """Outputs by name for inputs by name (already of the right shapes and types).

        ``observe`` is called after each call with its number and all buffers, flat and by index;
        those that no call has written yet, or that none needs any more, are empty.
        Raises ``KpuError`` if the program reads what was never written or a slot given back.
        """
        program = self.program
        data: list[Array] = [NOTHING] * len(program.buffers)
        masks: list[Array | None] = [NOTHING] * len(program.buffers)
        for i, value in self.constants.items():
            data[i], masks[i] = value.reshape(-1), None
        for port in program.inputs:
            data[port.buffer] = np.ascontiguousarray(inputs[port.name]).reshape(-1)
            masks[port.buffer] = None
        for number, call in enumerate(program.calls):
            with at_call(call.where), np.errstate(all="ignore"):
                self._call(call, data, masks)
            if observe is not None:
                observe(number, data)
            for i in self.last_needed.get(number, ()):
                data[i] = NOTHING
        for port in program.outputs:
            if masks[port.buffer] is not None:
                raise KpuError(f"output '{port.name}' was not written completely")
        return {p.name: data[p.buffer].reshape(tuple(p.type.get_shape())) for p in program.outputs}

    def _call(self, call: Call, data: list[Array], masks: list[Array | None]) -> None:
        """One kernel; masks of what is written, None where all is."""
        plan, arguments = call.plan, call.arguments
        shapes = self.shapes[plan.name]
        plain = None if self.stepped else self._plain(plan)
        if plain is not None and plain.takes(arguments, masks):
            given = [
                data[a].reshape(s) if b in plain.read else NOTHING
                for b, (a, s) in enumerate(zip(arguments, shapes))
            ]
            for b, result in plain.run(given).items():
                data[arguments[b]], masks[arguments[b]] = result.reshape(-1), None
            return
        if plan.name not in self.slots:
            self.slots[plan.name] = SlotRunner(plan, self.memory)
        for a in arguments:
            if masks[a] is NOTHING:
                data[a] = self._room(a)
                masks[a] = np.zeros(data[a].size, np.bool_)
        buffers = [data[a].reshape(s) for a, s in zip(arguments, shapes)]
        shaped = [
            None if (mask := masks[a]) is None else mask.reshape(s)
            for a, s in zip(arguments, shapes)
        ]
        self.slots[plan.name].run(buffers, shaped)
        for a in arguments:
            mask = masks[a]
            if mask is not None and mask.all():
                masks[a] = None

    def _room(self, index: int) -> Array:
        """Where a tensor stands that a kernel writes on slots: in L3, or in memory of its own."""
        buffer = self.program.buffers[index]
        dtype, count = dtype_of(buffer.type.element_type), buffer.type.element_count()
        if buffer.level != "l3":
            return np.empty(count, dtype)
        return self.memory.at("l3", buffer.address, dtype, count)

    def _plain(self, plan: Plan) -> PlainRunner | None:
        """The plan on plain values, where that is proven to be the same."""
        if plan.name not in self.plain:
            self.plain[plan.name] = (
                PlainRunner(plan, widen(plan), self.memory.segments) if proven(plan) else None
            )
        return self.plain[plan.name]


def run_program(
    program: Program, inputs: Mapping[str, Array], stepped: bool = False
) -> dict[str, Array]:
    """Values of a program, once."""
    return ValueModel(program, stepped).run(inputs)
