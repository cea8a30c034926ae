"""A program as a listing that a hardware person reads, and back.

The listing is the JSON object (``json_form``) in other clothes. What is loaded from it is its ``.ir``; all
else must be what follows from that, line by line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from math import prod
from typing import Any

from kpu_ir.program.compiled import Compiled
from kpu_ir.support.errors import KpuError
from kpu_ir.translate.executor import Executor, Formula, Object
from kpu_ir.translate.json_form import AGAIN, FORMAT, VERSION, from_object, to_object
from kpu_ir.translate.values import shape_of

HEAD = "; kpu-ir listing"
STEPPED = 20_000
"""Instructions that are executed to find the cycle in which each begins first."""


def to_asm(compiled: Compiled) -> str:
    """The listing of a compiled program."""
    return "\n".join(_listing(to_object(compiled))) + "\n"


def _listing(program: Object) -> Iterator[str]:
    clock = program["machine"]["clock_hz"] / 1e9
    yield f"{HEAD}, version {VERSION}; docs/translate.md says how to read it"
    yield f".source {json.dumps(program['source'])}"
    yield f".machine {json.dumps(program['machine'])}"
    yield f"; {program['machine']['name']}, {clock:g} GHz; engines: " + ", ".join(
        e["name"] + (f" ({len(e['channels'])} channels)" if e["channels"] else "")
        for e in program["engines"]
    )
    yield ""
    yield ".memory"
    for i, b in enumerate(program["memory"]):
        first, last = b["calls"]
        values = f"  {b['values']}" if "values" in b else ""
        yield (
            f"  #{i:<4} {b['level']:<9} {b['address']:#012x}  {b['bytes']:>12,} B  {b['kind']:<9} "
            f"calls {first} to {last}  {b['type']}  {b['name']}{values}"
        )
    for what in ("inputs", "outputs"):
        for port in program[what]:
            yield f"  {what[:-1]} {json.dumps(port['name'])} = #{port['buffer']}  {port['type']}"
    yield ""
    yield ".calls"
    for i, call in enumerate(program["calls"]):
        buffers = ", ".join(f"#{b}" for b in call["buffers"])
        yield f"  {i:>4}: @{call['kernel']}({buffers})  ; {call['label']}"
    executor = Executor(program, most=STEPPED)
    executor.run()
    for kernel in program["kernels"]:
        yield ""
        yield from _kernel(kernel, executor.first)
    yield ""
    yield ".ir"
    yield from (f"  {line}" for line in program["ir"])
    yield f".places {json.dumps(program['places'])}"


def _kernel(kernel: Object, first: Mapping[int, int]) -> Iterator[str]:
    parameters = ", ".join(f"%{i}: {t}" for i, t in enumerate(kernel["parameters"]))
    yield f".kernel @{kernel['name']}({parameters})"
    for r in kernel["rings"]:
        end = r["address"] + r["slots"] * r["slot_bytes"]
        yield (
            f"  .ring {r['name']:<14} {r['level']}  {r['address']:#08x} to {end:#08x}  "
            f"{r['slots']} x {r['slot_bytes']:,} B  {r['type']}"
        )
    rings = {r["name"]: r for r in kernel["rings"]}
    for engine, queue in kernel["queues"].items():
        yield ""
        yield f"  .engine {engine}"
        yield from _queue(queue, kernel, rings, engine, first, 0)
    followers = {
        (name, kind["holds"][0][0])
        for kind in kernel["kinds"]
        for name, _, _ in kind["holds"]
        if name not in kernel["queues"]
    }
    if followers:
        yield ""
    for name, leader in sorted(followers):
        yield f"  .engine {name} follows {leader}"


def _queue(
    queue: Sequence[Object],
    kernel: Object,
    rings: Mapping[str, Object],
    engine: str,
    first: Mapping[int, int],
    depth: int,
) -> Iterator[str]:
    pad = "  " * depth
    for item in queue:
        if "do" in item:
            begin = item.get("from", 0)
            yield f"{'':14}{pad}loop i{depth} = {begin} to {begin + item['trips']} {{"
            yield from _queue(item["do"], kernel, rings, engine, first, depth + 1)
            yield f"{'':14}{pad}}}"
            continue
        cycle = first.get(id(item))
        at = f"{cycle:>10,}" if cycle is not None else f"{'':>10}"
        number = item["run"] if "run" in item else item["with"]
        operation = kernel["operations"][number]
        kind = kernel["kinds"][operation["kind"]]
        if "with" in item:
            own = kind["holds"][0][0]
            begin, end = next((b, e) for n, b, e in kind["holds"] if n == engine)
            yield f"{'':14}{pad}with {own}'s {number} ({kind['op']}), cycles {begin} to {end} of it"
            continue
        yield f"{at}    {pad}{_instruction(item, number, operation, kind, kernel, rings)}"


def _instruction(
    item: Object, number: int, operation: Object, kind: Object, kernel: Object,
    rings: Mapping[str, Object],
) -> str:  # fmt: skip
    slots = chain(item.get("slots", ()), repeat(0))

    def tile(name: str) -> str:
        if name[0] == "%":
            return name + _address(name, item, kind, kernel)
        ring, slot = rings[name], next(slots)
        if isinstance(slot, int):
            return f"{name}[{slot}]"
        number = formula(slot)
        return f"{name}[{f'({number})' if ' ' in number else number} % {ring['slots']}]"

    reads = [tile(n) for n in operation["reads"]]
    sums = [tile(operation["sums"])] if "sums" in operation else []
    into = tile(operation["into"])
    extents = "x".join(map(str, kind["extents"]))
    shape = f"{kind['m']}x{kind['n']}x{kind['k']}" if "m" in kind else extents
    what = kind["op"]
    if what == "matmul":
        what += f".{kind['dataflow']}" + ("+" if kind["accumulate"] else "")
        what += " epilogue" if "epilogue" in kind else ""
    elif what in ("reduce", "windowed"):
        what += f".{kind['reduction']}"
    elif what == "rowwise":
        what += f".{kind['function']}"
    own = kind["holds"][0]
    size = f"{kind['bytes']:,} B, " if "bytes" in kind else ""
    text = f"{number:>3} {what} {', '.join(reads + sums)} -> {into}  {shape}, {size}"
    text += f"{own[2] - own[1]:,} cycles, there after {kind['latency']:,}"
    waits = [f"{what} {formula(count)}" for what, count in item.get("after", {}).items()]
    if waits:
        text += f"; wait {', '.join(waits)}"
    if operation.get("place"):
        text += f"  ; {operation['place']}"
    return text


def _address(name: str, item: Object, kind: Object, kernel: Object) -> str:
    """Where in a tensor a block begins, in bytes."""
    at = item.get("at")
    if at is None:
        return ""
    extents, dtype = shape_of(kernel["parameters"][int(name[1:])])
    if len(at) != len(extents):
        return ""
    total = [0] * max(len(a) if isinstance(a, list) else 1 for a in at)
    for axis, offset in enumerate(at):
        before = kind["low"][axis] if "low" in kind else 0
        stride = prod(extents[axis + 1 :]) * dtype.itemsize
        row = [offset] if isinstance(offset, int) else offset
        for i, n in enumerate(row):
            total[i] += n * stride
        total[0] -= before * stride
    return f" + {formula(total if len(total) > 1 else total[0])} B"


def formula(f: Formula) -> str:
    """``3 + 128*i0 + i1``."""
    if isinstance(f, int):
        return str(f)
    parts = [str(f[0])] if f[0] else []
    parts += [f"i{d}" if c == 1 else f"{c}*i{d}" for d, c in enumerate(f[1:]) if c]
    return " + ".join(parts).replace("+ -", "- ") or "0"


# -- back -----------------------------------------------------------------------------------------


def from_asm(text: str, weights: Mapping[str, memoryview], where: str) -> Compiled:
    """The program of a listing, verified. Raises ``KpuError`` with the line that is wrong."""
    lines = text.split("\n")
    if not lines[0].startswith(HEAD):
        raise KpuError(f"not a listing: its first line is not '{HEAD}...'", where)
    try:
        source = _section(lines, ".source ")
        machine = _section(lines, ".machine ")
        places = _section(lines, ".places ")
        ir = [line[2:] for line in lines[lines.index(".ir") + 1 :] if line.startswith("  ")]
    except ValueError as e:
        raise KpuError(f"truncated or changed: {e}", where, AGAIN) from None
    given = {
        "format": FORMAT, "version": VERSION, "source": source, "machine": machine, "ir": ir,
        "places": places,
    }  # fmt: skip
    compiled = from_object(given, weights, where, complete=False)
    for number, (own, line) in enumerate(zip(to_asm(compiled).split("\n"), lines, strict=False)):
        if own != line:
            raise KpuError(
                f"its parts disagree: this line is {line.strip()!r}, by its .ir it is {own.strip()!r}",
                f"{where}:{number + 1}",
                "the program is its .ir: change that, and translate it again",
            )
    return compiled


def _section(lines: Sequence[str], start: str) -> Any:
    for line in lines:
        if line.startswith(start):
            return json.loads(line[len(start) :])
    raise ValueError(f"there is no line '{start.strip()} ...'")
