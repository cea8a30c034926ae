"""A program as one JSON object (``program.schema.json``), and back.

What is there twice (the nest as IR text, and the queues that follow from it) is compared when it is
read: a file whose parts disagree is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute

from kpu_ir.machine import Machine
from kpu_ir.machine.attr import ATTRIBUTE, machine_to_attr
from kpu_ir.nest.records import Affine
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.options import Options
from kpu_ir.program.saved import location_of, places_of
from kpu_ir.sim.program.coverage import check_coverage
from kpu_ir.sim.program.plan import (
    Fetch,
    Map,
    Matmul,
    Move,
    Plan,
    Put,
    Reduce,
    Rowwise,
    Windowed,
    Write,
    carrier,
)
from kpu_ir.sim.program.program import Buffer, Program, load_program
from kpu_ir.support.errors import KpuError, within_limits
from kpu_ir.text.calls import check_calls
from kpu_ir.translate.items import Instruction, Item, Operation
from kpu_ir.translate.queues import Kernel, kernels_of, place_of_operation, touched
from kpu_ir.translate.text import body_text, handle, lines_of, module_of

FORMAT, VERSION = "kpu-program", 1
AGAIN = "translate the program again"

LONG = 100
"""Characters of a value that a message shows."""


def schema() -> dict[str, Any]:
    """The JSON schema of the format (draft 2020-12)."""
    return json.loads(files("kpu_ir.translate").joinpath("program.schema.json").read_text())


# -- out ------------------------------------------------------------------------------------------


def to_object(compiled: Compiled) -> dict[str, Any]:
    """A compiled program as plain data. Raises ``KpuError`` for one that has no ``dma`` IR."""
    return object_of(compiled.program, compiled.stages["dma"], compiled.source)


def object_of(program: Program, module: ModuleOp, source: str) -> dict[str, Any]:
    """A program, and the module that it was loaded from, as plain data."""
    engines, kernels = kernels_of(program)
    return {
        "format": FORMAT,
        "version": VERSION,
        "source": source,
        "machine": program.machine.to_dict(),
        "engines": [
            {"name": e.name, "kind": e.kind, "channels": list(e.channels)} for e in engines
        ],
        "memory": [_buffer(b, program) for b in program.buffers],
        "inputs": [{"name": p.name, "buffer": p.buffer, "type": _short(p.type)} for p in program.inputs],
        "outputs": [
            {"name": p.name, "buffer": p.buffer, "type": _short(p.type)} for p in program.outputs
        ],
        "kernels": [_kernel(k, program.machine) for k in kernels],
        "calls": [
            {"kernel": c.plan.name, "label": c.label, "buffers": list(c.arguments)}
            for c in program.calls
        ],
        "ir": lines_of(module),
        "places": places_of(module),
    }  # fmt: skip


def _buffer(b: Buffer, program: Program) -> dict[str, Any]:
    first, last = program.lifetimes().get(b.index, (-1, -1))
    most = len(program.calls) - 1
    return {
        "name": b.name,
        "kind": b.kind,
        "type": _short(b.type),
        "level": b.level,
        "address": b.address,
        "bytes": b.bytes,
        "calls": [max(first, 0), min(last, most)],
        **({"values": name} if (name := handle(b.value)) else {}),
    }


def _short(type: Any) -> str:
    """``32x64xf32``."""
    return "x".join((*map(str, type.get_shape()), str(type.element_type)))


def _kernel(kernel: Kernel, machine: Machine) -> dict[str, Any]:
    plan, kinds, rows = kernel.plan, list[dict[str, Any]](), list[dict[str, Any]]()
    for operation in kernel.operations:
        kind = _kind(operation, machine)
        if kind not in kinds:
            kinds.append(kind)
        rows.append({"kind": kinds.index(kind), **_touches(operation, plan)})
    return {
        "name": plan.name,
        "parameters": [_short(t) for t in plan.parameters],
        "instructions": kernel.instructions,
        "rings": [
            {
                "name": f"@{r.name}",
                "level": r.level,
                "type": _typed(r.shape, r.element),
                "address": r.address,
                "slots": r.depth,
                "slot_bytes": r.slot_bytes,
            }
            for r in plan.rings
        ],
        "kinds": kinds,
        "operations": rows,
        "queues": {
            engine: _items(items, kernel, engine, ())
            for engine, items in kernel.queues.items()
            if items
        },
    }


def _typed(shape: Sequence[int], element: Attribute) -> str:
    return "x".join((*map(str, shape), str(element)))


def _items(
    items: Sequence[Item], kernel: Kernel, engine: str, loops: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Part of a queue, inside of ``loops`` (their symbols, the outermost first)."""
    rings = {f"@{r.name}": r.depth for r in kernel.plan.rings}
    out: list[dict[str, Any]] = []
    for item in items:
        if not isinstance(item, Instruction):
            body = _items(item.body, kernel, engine, (*loops, item.var))
            first = {"from": item.first} if item.first else {}
            out.append({**first, "trips": item.trips, "do": body})
            continue
        operation = kernel.operations[item.operation]
        if operation.held[0].engine.name != engine:
            out.append({"with": item.operation})
            continue
        row: dict[str, Any] = {"run": item.operation}
        if any(o != Affine(0) for o in item.offsets):
            row["at"] = [formula(o, loops) for o in item.offsets]
        names = [_name(r, kernel.plan) for r in touched(operation)]
        depths = [rings[n] for n in names if n in rings]
        slots = [formula(_modulo(s, d), loops) for s, d in zip(item.slots, depths)]
        if any(slots):
            row["slots"] = slots
        if item.waits:
            row["after"] = {f"{w.what} {w.engine}": formula(w.count, loops) for w in item.waits}
        if item.fresh:
            row["fresh"] = True
        out.append(row)
    return out


def _modulo(tile: Affine, depth: int) -> Affine:
    """The same slot, in small numbers."""
    terms = tuple((v, c % depth) for v, c in tile.terms if c % depth)
    return Affine(tile.const % depth, terms)


def formula(e: Affine, loops: Sequence[int]) -> int | list[int]:
    """``[const, by the trip of the outermost loop, by that of the next, ...]``; a number where it is one."""
    if not e.terms:
        return e.const
    by = dict(e.terms)
    row = [e.const, *(by.get(var, 0) for var in loops)]
    while not row[-1]:
        row.pop()
    return row


def _touches(o: Operation, plan: Plan) -> dict[str, Any]:
    """The rings and parameters that an operation touches, and its place."""
    names = [_name(r, plan) for r in touched(o)]
    reads = len(o.wire.reads)
    sums = {"sums": names[reads]} if len(names) > reads + 1 else {}
    where = place_of_operation(o)
    known = {"place": where} if where and not where.startswith("@") else {}
    return {"reads": names[:reads], **sums, "into": names[-1], **known}


def _kind(o: Operation, machine: Machine) -> dict[str, Any]:
    """What operations do, whatever rings they do it on."""
    step, wire = o.step, o.wire
    out: dict[str, Any] = {
        "op": type(step).__name__.lower(),
        "holds": [[h.engine.name, h.begin, h.end] for h in o.held],
        "latency": o.cost.latency,
        "extents": list(step.extents),
        **_meaning(o),
        "counts": {k: n for k, n in o.cost.counts.items() if n},
    }
    if isinstance(step, Matmul | Map | Reduce | Rowwise | Windowed):
        out["gate"] = wire.gate
        if o.cost.release != o.cost.occupancy:
            out["release"] = o.cost.release
        return out
    out |= ({"keeps": True} if wire.marks else {}) | ({} if wire.fills else {"fills": False})
    if isinstance(step, Fetch | Move | Put | Write) and carrier(step) == "dma":
        memory, reading = machine.external, isinstance(step, Fetch)
        if turn := memory.write_to_read if reading else memory.read_to_write:
            out["turn"] = turn
    return out


def _name(register: int, plan: Plan) -> str:
    if register >= plan.values:
        return f"%{register - plan.values}"
    return f"@{plan.tile_rings[register].name}"


def _meaning(o: Operation) -> dict[str, Any]:
    """What an operation computes, beyond its extents."""
    step = o.step
    match step:
        case Fetch():
            out: dict[str, Any] = {"bytes": step.bytes}
            if step.low is not None:
                out |= {"low": list(step.low), "fill": _number(step.fill)}
            return out
        case Move():
            turned = step.permutation != tuple(range(len(step.block)))
            more = {"block": list(step.block), "order": list(step.permutation)} if turned else {}
            return {"bytes": step.bytes, **more}
        case Matmul():
            out = {
                "dataflow": step.dataflow,
                "accumulate": step.accumulate,
                "apart": step.apart and step.accumulate,
                "element": step.multiplier,
                "sum": str(step.sum_element),
                "m": step.m,
                "n": step.n,
                "k": step.k,
            }
            if step.window is not None:
                out["window"] = _window(step.window)
            if step.epilogue is not None:
                out["epilogue"] = body_text(step.epilogue)
            if step.each:
                out["each"] = True
            return out
        case Map():
            return {"body": body_text(step.body)}
        case Reduce():
            return {"reduction": step.kind, "axes": list(step.axes), "accumulate": step.accumulate}
        case Rowwise():
            return {
                "function": step.function,
                "axis": step.axis,
                "backward": step.record.backward,
                "exclusive": step.record.exclusive,
            }
        case Windowed():
            out = {
                "reduction": step.kind,
                "window": _window(step.window),
                "sum": str(step.sum_element),
            }
            out["weights"] = step.weights is not None
            if step.epilogue is not None:
                out["epilogue"] = body_text(step.epilogue)
            return out
        case Write():
            return {"bytes": step.bytes}
        case _:
            return {"bytes": getattr(step, "bytes", 0)}


def _number(x: float) -> float | str:
    """JSON has no infinities."""
    return x if x == x and abs(x) != float("inf") else str(x)


def _window(window: Any) -> list[list[int]]:
    return [list(window.kernel), list(window.strides), list(window.dilations)]


# -- in -------------------------------------------------------------------------------------------


def from_object(
    given: Any, weights: Mapping[str, memoryview], where: str, complete: bool = True
) -> Compiled:
    """The program of an object, verified: what it says fits the machine, reads nothing that was not
    written, and its queues are those of its IR (if it is ``complete``; its IR alone else).

    Raises ``KpuError`` that names what is wrong, and where.
    """
    found, module = _read(given, weights, where)
    again = object_of(found, module, given["source"])
    difference = next(_differences(again, given, ""), None) if complete else None
    if difference is not None:
        raise KpuError(
            f"{difference}: its parts disagree",
            where,
            "the program is its 'ir': change that, and translate it again",
        )
    return Compiled(found, {"dma": module}, Options(), 0.0, given["source"])


def _read(given: Any, weights: Mapping[str, memoryview], where: str) -> tuple[Program, ModuleOp]:
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise KpuError(f'not a program: it has no "format": "{FORMAT}"', where)
    version = given.get("version")
    if version != VERSION:
        raise KpuError(f"version {version} of the format, this reads {VERSION}", where, AGAIN)
    lines, places = given.get("ir"), given.get("places")
    if not (isinstance(lines, list) and all(isinstance(line, str) for line in lines)):
        raise KpuError("truncated: it has no 'ir', a list of lines", where, AGAIN)
    if not isinstance(given.get("source"), str):
        raise KpuError("it has no 'source', a text", where, AGAIN)
    if "machine" not in given:
        raise KpuError("it has no 'machine'", where, AGAIN)
    if not (places is None or (isinstance(places, list) and all(map(_is_place, places)))):
        raise KpuError("'places' are no list of [operation, place]", where, AGAIN)
    try:
        with within_limits(where):
            machine = Machine.from_dict(given["machine"])
            located = {int(n): location_of(place) for n, *place in places or ()}
            module = module_of(lines, weights, f"{where}(ir)")
            module.attributes[ATTRIBUTE] = machine_to_attr(machine)
            for number, op in enumerate(module.walk()):
                if number in located:
                    op.location = located[number]
            check_calls(module)
            program = load_program(module, machine)
            check_coverage(program)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as e:
        raise KpuError(f"it cannot be read ({type(e).__name__}: {e})", where, AGAIN) from None
    except KpuError as e:
        inside = e.where if e.where is None or e.where.startswith(where) else f"{where}: {e.where}"
        raise KpuError(e.message, inside or where, e.hint) from None
    return program, module


def _is_place(entry: Any) -> bool:
    return isinstance(entry, list) and bool(entry) and isinstance(entry[0], int)


def _differences(own: Any, given: Any, path: str) -> Iterator[str]:
    """Where two objects differ, in words."""
    if isinstance(own, dict) and isinstance(given, dict):
        for key in dict.fromkeys((*own, *given)):
            inner = f"{path}.{key}" if path else key
            if key not in given:
                yield f"'{inner}' is missing"
            elif key not in own:
                yield f"'{inner}' is unknown"
            else:
                yield from _differences(own[key], given[key], inner)
    elif isinstance(own, list) and isinstance(given, list):
        if len(own) != len(given):
            yield f"'{path}' has {len(given)} entries, expected {len(own)}"
        for i, (a, b) in enumerate(zip(own, given)):
            yield from _differences(a, b, f"{path}[{i}]")
    elif type(own) is not type(given) or own != given:
        yield f"'{path}' is {_cut(given)}, expected {_cut(own)}"


def _cut(value: Any) -> str:
    """A value for a message: of what is long, how it begins."""
    text = repr(value)
    return text if len(text) <= LONG else f"{text[:LONG]}..."
