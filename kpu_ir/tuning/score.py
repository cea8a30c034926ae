"""What schedules are compared by: the time of a kernel, and what is made of it."""

from __future__ import annotations

import json
from hashlib import sha256

from xdsl.dialects.func import FuncOp

from kpu_ir.dialects.kernel.core import WEIGHTS
from kpu_ir.lowering.kernel_to_tile import TilingStrategy
from kpu_ir.lowering.schedule import L3_BYTES, PINNED, Schedule, l3_bytes, narrowed
from kpu_ir.lowering.space import Space
from kpu_ir.machine import Machine
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.energy import energy
from kpu_ir.support.errors import KpuError
from kpu_ir.text.structure import structure
from kpu_ir.tuning.kernels import KernelModel
from kpu_ir.tuning.objective import Objective
from kpu_ir.tuning.seen import seen_by
from kpu_ir.tuning.session import current

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
            return (energy(timing.counts, machine).total, timing.cycles)
        case "edp":
            return (energy(timing.counts, machine).total * timing.cycles, timing.cycles)


def digest_of(func: FuncOp, machine: Machine) -> str:
    """What the time of a kernel with a schedule depends on: its function, what of it is pinned,
    what of the machine it sees."""
    shared = current()
    if shared is None:
        return _digest(func, machine)
    known = shared.digests.get(id(func))
    if known is None or known[0] is not func or known[1] is not machine:
        # Printing is slow: functions that are equal are printed once.
        block = func.body.block
        pinned = [func.attributes.get(name) for name in (PINNED, L3_BYTES)]
        key = id(machine), structure(list(block.ops), block.args), *pinned
        equal = shared.equal.get(key)
        if equal is None:
            equal = shared.equal[key] = func, machine, _digest(func, machine)
        known = shared.digests[id(func)] = func, machine, equal[2]
    return known[2]


def _digest(func: FuncOp, machine: Machine) -> str:
    parts = [str(func.function_type), *(str(op) for op in func.body.block.ops)]
    parts += [str(func.attributes.get(name)) for name in (PINNED, L3_BYTES, WEIGHTS)]
    parts.append(json.dumps(seen_by(func, machine)))
    return sha256("\n".join(parts).encode()).hexdigest()[:32]


def space_of(func: FuncOp, strategy: TilingStrategy, machine: Machine) -> Space:
    """The candidates of a kernel, in the part of L3 that its tiles may take. Within a session those
    of the latest kernels are kept: which tensors are pinned does not change them."""
    room = l3_bytes(func, machine)
    shared = current()
    if shared is None:
        return strategy.candidates(narrowed(machine, room))
    block = func.body.block
    key = id(machine), room, structure(list(block.ops), block.args)
    known = shared.spaces.pop(key, None)
    if known is None:
        known = machine, strategy.candidates(narrowed(machine, room))
    shared.spaces[key] = known
    if len(shared.spaces) > SPACES:
        del shared.spaces[next(iter(shared.spaces))]
    return known[1]


def time_schedule(
    func: FuncOp,
    strategy: TilingStrategy,
    schedule: Schedule,
    machine: Machine,
    digest: str | None = None,
) -> Timing:
    """The time of one kernel alone, with this schedule. Raises ``KpuError`` where it does not fit.

    Within a session each kernel (``digest``: its ``digest_of``, where it is known) and schedule is
    simulated once.
    """
    shared = current()
    if shared is None:
        return KernelModel.of(func, strategy).timed(schedule, machine)
    digest = digest or digest_of(func, machine)
    key = digest, schedule
    known = shared.times.get(key)
    if known is None:
        model = shared.models.get(digest)
        if model is None:
            model = shared.models[digest] = KernelModel.of(func, strategy)
        try:
            known = model.timed(schedule, machine)
        except KpuError as e:
            known = e
        shared.times[key] = known
    if isinstance(known, KpuError):
        raise known
    return known
