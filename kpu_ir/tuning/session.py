"""What all that is decided for one compilation has in common: the cache of schedules, and the times
of kernels, so that nothing is asked twice."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.space import Space
from kpu_ir.machine import Machine
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.prices import Prices
from kpu_ir.support.errors import KpuError
from kpu_ir.support.garbage import uncollected
from kpu_ir.tuning.cache import Cache, cache_path
from kpu_ir.tuning.choice import Choice, Cost
from kpu_ir.tuning.kernels import KernelModel


@dataclass
class Session:
    """Schedules by kernel, and times by kernel and schedule (or why there is none); who is told of
    progress, and what was decided by simulating both ways.

    ``total``: cycles that the array works on the whole program, 0 where that is not known.
    ``times`` are with the bytes of L3 that the tiles take; what is ``unfit`` is so in so many.
    ``digests`` of functions, of their ``texts`` and of what they have ``seen`` of machines; ``models`` and
    ``bounds`` of cycles by digest; ``spaces`` of the latest kernels; ``wholes``: what modules take;
    ``priced``: operations, by the identity of the machine. A kernel's function is not changed while it
    is looked at.
    """

    cache: Cache
    progress: Callable[[str], None] = lambda step: None
    total: int = 0
    choices: list[Choice] = field(default_factory=list[Choice])
    times: dict[tuple[str, Schedule], tuple[Timing, int]] = field(
        default_factory=dict[tuple[str, Schedule], tuple[Timing, int]]
    )
    unfit: dict[tuple[str, Schedule, int], KpuError] = field(
        default_factory=dict[tuple[str, Schedule, int], KpuError]
    )
    digests: dict[int, tuple[FuncOp, Machine, str]] = field(
        default_factory=dict[int, tuple[FuncOp, Machine, str]]
    )
    texts: dict[Hashable, str] = field(default_factory=dict[Hashable, str])
    seen: dict[tuple[int, tuple[str, ...]], tuple[Machine, str]] = field(
        default_factory=dict[tuple[int, tuple[str, ...]], tuple[Machine, str]]
    )
    spaces: dict[Hashable, tuple[Machine, Space]] = field(
        default_factory=dict[Hashable, tuple[Machine, Space]]
    )
    models: dict[str, KernelModel] = field(default_factory=dict[str, KernelModel])
    bounds: dict[str, int] = field(default_factory=dict[str, int])
    wholes: dict[object, Cost | KpuError] = field(default_factory=dict[object, Cost | KpuError])
    priced: dict[int, Prices] = field(default_factory=dict[int, Prices])

    def prices(self, machine: Machine) -> Prices:
        """What operations cost on a machine."""
        known = self.priced.get(id(machine))
        if known is None:
            known = self.priced[id(machine)] = Prices(machine)
        return known


_CURRENT: ContextVar[Session | None] = ContextVar("kpu_ir_session", default=None)


def current() -> Session | None:
    """The session that is open, if one is."""
    return _CURRENT.get()


@contextmanager
def session(disk: bool = True) -> Generator[Session]:
    """Share what is found within; one that is opened inside another is that one.

    At the end the cache is written, once. Without ``disk`` nothing is read or written. Garbage is
    not looked for meanwhile.
    """
    outer = _CURRENT.get()
    if outer is not None:
        yield outer
        return
    opened = Session(Cache.load(cache_path()) if disk else Cache())
    token = _CURRENT.set(opened)
    try:
        with uncollected():
            yield opened
    finally:
        _CURRENT.reset(token)
        opened.cache.save()
