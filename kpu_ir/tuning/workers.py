"""Schedules of several kernels looked for at once, in processes of their own.

Nothing is forked, so that it does not matter what threads or locks the caller has, and nothing of
the caller's script is imported. Which schedules are found does not depend on how many workers there
are, nor on what becomes of them: what a worker does not answer is looked for by the caller.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from kpu_ir.support.numbers import whole_number

if TYPE_CHECKING:  # a worker imports this file first, and must begin to watch its parent soon
    from xdsl.dialects.func import FuncOp

    from kpu_ir.lowering.schedule import Schedule
    from kpu_ir.machine import Machine
    from kpu_ir.tuning.objective import Effort, Objective

SECONDS: dict[str, float] = {"ranked": 0.02, "quick": 0.05, "full": 0.8}
"""About what a kernel takes."""

START = 1.0
"""Seconds until a worker works. Less than a few times that is looked for faster by one process."""

STUCK = 120.0
"""Workers of which none answers for so many seconds are ended."""

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
    funcs: Sequence[FuncOp], machine: Machine, objective: Objective, effort: Effort, total: int = 0
) -> list[Schedule | None]:
    """The schedule of each kernel's function; None where a worker failed, and for all if there are
    too few to be worth a worker. ``total``: cycles of the whole program, as a session has them."""
    found: list[Schedule | None] = [None] * len(funcs)
    count = min(workers(), int(len(funcs) * SECONDS[effort] / (2 * START)))
    if count < 2:
        return found
    with pool_of(count) as pool:
        try:
            with no_script():
                asked: dict[Future[Schedule | None], int] = {
                    pool.submit(_answer, str(func), machine.to_dict(), objective, effort, total): i
                    for i, func in enumerate(funcs)
                }
            while asked:
                for done in as_completed(asked, STUCK):
                    found[asked.pop(done)] = done.result()
                    break
        except (TimeoutError, BrokenProcessPool, OSError):
            pass  # the caller looks for the rest
    return found


@contextmanager
def pool_of(
    count: int, begin: Callable[[int], None] | None = None
) -> Generator[ProcessPoolExecutor]:
    """A pool of processes that end with the block, whatever they are doing; each calls ``begin`` with
    this process's number first."""
    before = multiprocessing.active_children()
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        count, spawn, initializer=begin or watch_parent, initargs=(os.getpid(),)
    )
    try:
        yield pool
    finally:
        for process in multiprocessing.active_children():
            if process not in before:
                process.kill()
        pool.shutdown(cancel_futures=True)


@contextmanager
def no_script() -> Generator[None]:
    """Processes that are started meanwhile import nothing of the running script."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def watch_parent(parent: int) -> None:
    """A worker ends when its parent does, whatever it is doing; Ctrl-C is the parent's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _answer(
    text: str, machine: dict[str, object], objective: Objective, effort: Effort, total: int
) -> Schedule | None:
    """The schedule of the kernel in ``text``; None for one that cannot be built, which the caller
    comes upon too, and says where."""
    from xdsl.dialects.func import FuncOp

    from kpu_ir.lowering.kernel_to_tile import recognise
    from kpu_ir.machine import Machine
    from kpu_ir.registry import context
    from kpu_ir.support.errors import KpuError
    from kpu_ir.text.parsing import parse_module
    from kpu_ir.tuning.cache import Cache
    from kpu_ir.tuning.search import Search
    from kpu_ir.tuning.session import session

    (func,) = parse_module(text, "kernel", context()).ops
    assert isinstance(func, FuncOp)
    try:
        search = Search(Machine.from_dict(machine), objective, effort, Cache())
        with session(disk=False) as here:
            here.total = total
            return search.search(func, recognise(func))
    except KpuError:
        return None
