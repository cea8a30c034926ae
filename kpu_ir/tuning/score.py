"""What schedules are compared by: the time of a kernel, and what is made of it."""

from __future__ import annotations

import re
from hashlib import sha256

from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.kernel_to_tile import TilingStrategy
from kpu_ir.lowering.schedule import L3_BYTES, PINNED, Schedule, l3_bytes, narrowed
from kpu_ir.lowering.space import Space
from kpu_ir.machine import Machine
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.energy import energy
from kpu_ir.sim.time.prices import Prices
from kpu_ir.support.errors import KpuError
from kpu_ir.text.structure import SCALAR, structure
from kpu_ir.tuning.kernels import KernelModel
from kpu_ir.tuning.objective import Objective
from kpu_ir.tuning.seen import hidden_from, seen
from kpu_ir.tuning.session import current

CONSTANT = re.compile(re.escape(SCALAR) + r" \S+")
"""A scalar constant and its value, as they are printed."""

SPACES = 32
"""So many are kept."""


def score(timing: Timing, machine: Machine, objective: Objective) -> tuple[float, float]:
    """What is minimised, and what decides ties."""
    moved = timing.external_bytes
    match objective:
        case "cycles":
            return (timing.cycles, moved)
        case "bytes":
            return (moved, timing.cycles)
        case "energy":
            return (energy(timing.counts, machine, timing.cycles).total, timing.cycles)
        case "edp":
            spent = energy(timing.counts, machine, timing.cycles).total
            return (spent * timing.cycles, timing.cycles)


def digest_of(func: FuncOp, machine: Machine) -> str:
    """What the schedule of a kernel depends on: what its time does, and how much of L3 its tiles may
    take."""
    return f"{timed_as(func, machine)}{_room(func)}"


def _room(func: FuncOp) -> str:
    room = func.attributes.get(L3_BYTES)
    return "" if room is None else f" {room}"


def timed_as(func: FuncOp, machine: Machine) -> str:
    """What the time of a kernel with a schedule depends on: its function (but for the values of scalar
    constants: the layers of a quantized network differ in nothing else), what of it is pinned, what of
    the machine it sees. A schedule that fits takes no more time in a smaller part of L3."""
    shared = current()
    if shared is None:
        return _digest(func, _text(func), seen(machine, hidden_from(func, machine)))
    known = shared.digests.get(id(func))
    if known is None or known[0] is not func or known[1] is not machine:
        # Printing is slow: functions that do the same are printed once, and what they see once.
        block = func.body.block
        what = structure(list(block.ops), block.args, scalars=False)
        text = shared.texts.get(what)
        if text is None:
            text = shared.texts[what] = _text(func)
        hidden = hidden_from(func, machine)
        see = shared.seen.get((id(machine), hidden))
        if see is None:
            see = shared.seen[id(machine), hidden] = machine, seen(machine, hidden)
        known = shared.digests[id(func)] = func, machine, _digest(func, text, see[1])
    return known[2]


def _text(func: FuncOp) -> str:
    text = "\n".join([str(func.function_type), *(str(op) for op in func.body.block.ops)])
    return CONSTANT.sub(SCALAR, text)


def _digest(func: FuncOp, text: str, machine: str) -> str:
    parts = text, str(func.attributes.get(PINNED)), machine
    return sha256("\n".join(parts).encode()).hexdigest()[:32]


def space_of(func: FuncOp, strategy: TilingStrategy, machine: Machine) -> Space:
    """The candidates of a kernel, in the part of L3 that its tiles may take. Within a session those
    of the latest kernels are kept: which tensors are pinned does not change them."""
    room = l3_bytes(func, machine)
    shared = current()
    if shared is None:
        return strategy.candidates(narrowed(machine, room))
    block = func.body.block
    key = id(machine), room, structure(list(block.ops), block.args, scalars=False)
    known = shared.spaces.pop(key, None)
    if known is None:
        known = machine, strategy.candidates(narrowed(machine, room))
    shared.spaces[key] = known
    if len(shared.spaces) > SPACES:
        del shared.spaces[next(iter(shared.spaces))]
    return known[1]


def time_schedule(
    func: FuncOp, strategy: TilingStrategy, schedule: Schedule, machine: Machine
) -> Timing:
    """The time of one kernel alone, with this schedule. Raises ``KpuError`` where it does not fit.

    Within a session each kernel and schedule is simulated once, however much of L3 is left to it.
    """
    shared, room = current(), l3_bytes(func, machine)
    if shared is None:
        return KernelModel.of(func, strategy).timed(schedule, Prices(machine))[0]
    kernel = timed_as(func, machine)
    known = shared.times.get((kernel, schedule))
    if known is None:
        known = shared.unfit.get((kernel, schedule, room))
    if known is None:
        model = shared.models.get(kernel)
        if model is None:
            model = shared.models[kernel] = KernelModel.of(func, strategy)
        try:
            known = shared.times[kernel, schedule] = model.timed(
                schedule, shared.prices(machine), room
            )
        except KpuError as e:
            known = shared.unfit[kernel, schedule, room] = e.anew()
    if isinstance(known, KpuError):
        raise known.anew()
    timing, taken = known
    if taken > room:
        name = func.sym_name.data
        raise KpuError(f"the tiles of @{name} need {taken} bytes of l3, there are {room} for them")
    return timing


def fits(func: FuncOp, strategy: TilingStrategy, schedule: Schedule, machine: Machine) -> bool:
    """Whether a kernel has room for a schedule."""
    try:
        time_schedule(func, strategy, schedule, machine)
    except KpuError:
        return False
    return True
