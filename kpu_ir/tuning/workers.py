"""Schedules of several kernels looked for at once, in processes of their own.

A worker is a fresh interpreter that reads kernels as text and answers with schedules: nothing is
forked, so that it does not matter what threads or locks the caller has. Which schedules are found
does not depend on how many workers there are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from xdsl.dialects.func import FuncOp

from kpu_ir.support.numbers import whole_number

FEW = 4
"""So many kernels are looked for faster here: a worker takes a second to start."""

WORKERS = "KPU_IR_WORKERS"
"""The environment variable that says how many processes look for schedules; by default, one for
each processor."""


def workers() -> int:
    """How many processes may look for schedules."""
    given = whole_number(os.environ.get(WORKERS, ""))
    if given is not None:
        return max(1, given)
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable is not None else os.cpu_count() or 1


def search_all(
    funcs: Sequence[FuncOp], machine: dict[str, Any], objective: str, effort: str
) -> list[dict[str, Any] | None]:
    """The schedule of each kernel's function, as a dictionary; None where a worker failed, and for
    all if there are too few to be worth a worker."""
    found: list[dict[str, Any] | None] = [None] * len(funcs)
    count = min(workers(), len(funcs) // 2)
    if len(funcs) < FEW or count < 2:
        return found
    running: list[tuple[range, subprocess.Popen[str]]] = []
    environment = {**os.environ, WORKERS: "1"}
    for first in range(count):
        mine = range(first, len(funcs), count)
        task = {
            "machine": machine, "objective": objective, "effort": effort,
            "funcs": [str(funcs[i]) for i in mine],
        }  # fmt: skip
        try:
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "kpu_ir.tuning.workers"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True, env=environment,
            )  # fmt: skip
        except OSError:
            continue
        running.append((mine, worker))
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps(task))
            worker.stdin.close()
        except OSError:
            pass  # it ended at once, and answers nothing
    for mine, worker in running:
        assert worker.stdout is not None
        with worker.stdout as stream:
            answer = stream.read()
        if worker.wait() == 0:
            for i, schedule in zip(mine, json.loads(answer)):
                found[i] = schedule
    return found


def main() -> int:
    """Answer one task from standard input."""
    from kpu_ir.lowering.kernel_to_tile import recognise
    from kpu_ir.machine import Machine
    from kpu_ir.registry import context
    from kpu_ir.support.errors import KpuError
    from kpu_ir.text.parsing import parse_module
    from kpu_ir.tuning.search import Search

    task = json.load(sys.stdin)
    search = Search(Machine.from_dict(task["machine"]), task["objective"], task["effort"])
    answers: list[dict[str, Any] | None] = []
    for text in task["funcs"]:
        (func,) = parse_module(text, "kernel", context()).ops
        assert isinstance(func, FuncOp)
        try:
            answers.append(asdict(search.choose(func, recognise(func))))
        except KpuError:
            answers.append(None)  # the caller comes upon it too, and says where
    print(json.dumps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
