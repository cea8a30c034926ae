"""How a kernel gets its schedule, and what a module takes with the schedules that it would get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.kernel_to_tile import TilingStrategy, schedule_of
from kpu_ir.lowering.schedule import ATTRIBUTE as SCHEDULE
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.passes.kernel_decompose import KernelDecomposePass
from kpu_ir.passes.kernel_fuse_elementwise import KernelFuseElementwisePass
from kpu_ir.tuning.budget import whole
from kpu_ir.tuning.objective import Objective, SearchEffort
from kpu_ir.tuning.search import Search
from kpu_ir.tuning.session import current
from kpu_ir.tuning.workers import search_all

Choose = Callable[[FuncOp, TilingStrategy], Schedule]
"""The schedule of a kernel's function."""


def say(step: str) -> None:
    """Tell whoever watches the compilation."""
    here = current()
    if here is not None:
        here.progress(step)


def kernels_of(module: ModuleOp) -> list[FuncOp]:
    """The functions of an outlined module that are kernels."""
    return [op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data != "main"]


def chooser(machine: Machine, effort: SearchEffort, objective: Objective) -> Choose:
    """Each kernel's own ``kpu.schedule``, else what a search finds, else the default."""
    search = None if effort == "none" else Search(machine, objective, effort)

    def choose(func: FuncOp, strategy: TilingStrategy) -> Schedule:
        if search is None or SCHEDULE in func.attributes:
            return schedule_of(func, strategy, machine)
        say(f"schedule of @{func.sym_name.data}")
        return search.choose(func, strategy)

    return choose


def look_ahead(
    funcs: Sequence[FuncOp], machine: Machine, effort: SearchEffort, objective: Objective
) -> None:
    """Find the schedules of several kernels at once, on every processor, for ``chooser`` to know."""
    free = [func for func in funcs if SCHEDULE not in func.attributes]
    if effort == "none" or not free:
        return
    say(f"schedules of {len(free)} kernels")
    prepare(Search(machine, objective, effort), free)


def weigh(outlined: ModuleOp, machine: Machine) -> None:
    """Note how much the whole program is, once in a session: kernels get their budgets by it."""
    here = current()
    if here is not None and not here.total:
        here.total = whole(outlined, machine)


def prepare(search: Search, funcs: Sequence[FuncOp]) -> None:
    """Put what is not known of these kernels yet into the search's cache."""
    assert search.cache is not None
    new: dict[str, FuncOp] = {}
    for func in funcs:
        key = search.key(func)
        if key not in new and search.cache.get(key) is None:
            new[key] = func
    here = current()
    total = here.total if here else 0
    answers = search_all(list(new.values()), search.machine, search.objective, search.effort, total)
    for key, schedule in zip(new, answers):
        if schedule is not None:
            search.cache.put(key, schedule)


def separate(
    ctx: Context, module: ModuleOp, mode: Literal["none", "epilogue"] = "epilogue"
) -> None:
    """Named kernels decomposed, epilogues fused, each kernel still where it stands."""
    KernelDecomposePass().apply(ctx, module)
    KernelFuseElementwisePass(mode=mode).apply(ctx, module)
