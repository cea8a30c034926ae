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


class ValueModel:
    """A program compiled for values. Weights are read once; ``run`` may be called again and
    again."""

    def __init__(self, program: Program, stepped: bool = False) -> None:
        """Compile ``program``; with ``stepped`` every kernel runs operation by operation on slots,
        also where it is proven that plain values give the same up to rounding."""
        self.program, self.stepped = program, stepped
        program.check_count("ask for time only (--no-values)")
        self.memory = Memory(program.machine)
        self.slots: dict[str, SlotRunner] = {}
        self.plain: dict[str, PlainRunner | None] = {}
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
        those that no call has written yet hold anything.
        Raises ``KpuError`` if the program reads what was never written or a slot given back.
        """
        program = self.program
        data: list[Array] = [np.empty(0)] * len(program.buffers)
        masks: list[Array | None] = [None] * len(program.buffers)
        given = {port.buffer: np.ascontiguousarray(inputs[port.name]) for port in program.inputs}
        for buffer in program.buffers:
            i = buffer.index
            if buffer.kind == "constant":
                data[i] = self.constants[i].reshape(-1)
            elif i in given:
                data[i] = given[i].reshape(-1)
            elif buffer.level == "l3":
                dtype, count = dtype_of(buffer.type.element_type), buffer.type.element_count()
                data[i] = self.memory.at("l3", buffer.address, dtype, count)
                masks[i] = np.zeros(data[i].size, np.bool_)
            else:
                data[i] = np.empty(buffer.type.element_count(), dtype_of(buffer.type.element_type))
                masks[i] = np.zeros(data[i].size, np.bool_)
        for number, call in enumerate(program.calls):
            with at_call(call.where):
                self._call(call, data, masks)
            if observe is not None:
                observe(number, data)
        for port in program.outputs:
            if masks[port.buffer] is not None:
                raise KpuError(f"output '{port.name}' was not written completely")
        return {p.name: data[p.buffer].reshape(tuple(p.type.get_shape())) for p in program.outputs}

    def _call(self, call: Call, data: list[Array], masks: list[Array | None]) -> None:
        """One kernel; masks of what is written, None where all is."""
        plan, arguments = call.plan, call.arguments
        shapes = [tuple(t.get_shape()) for t in plan.parameters]
        buffers = [data[a].reshape(s) for a, s in zip(arguments, shapes)]
        plain = None if self.stepped else self._plain(plan)
        if plain is not None and plain.takes(arguments, masks):
            plain.run(buffers)
            for b in plain.written:
                masks[arguments[b]] = None
            return
        if plan.name not in self.slots:
            self.slots[plan.name] = SlotRunner(plan, self.memory)
        shaped = [
            None if (mask := masks[a]) is None else mask.reshape(s)
            for a, s in zip(arguments, shapes)
        ]
        self.slots[plan.name].run(buffers, shaped)
        for a in arguments:
            mask = masks[a]
            if mask is not None and mask.all():
                masks[a] = None

    def _plain(self, plan: Plan) -> PlainRunner | None:
        """The plan on plain values, where that is proven to be the same."""
        if plan.name not in self.plain:
            self.plain[plan.name] = PlainRunner(plan, widen(plan)) if proven(plan) else None
        return self.plain[plan.name]


def run_program(
    program: Program, inputs: Mapping[str, Array], stepped: bool = False
) -> dict[str, Array]:
    """Values of a program, once."""
    return ValueModel(program, stepped).run(inputs)
