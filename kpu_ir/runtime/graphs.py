"""Graphs: operations captured once, launched many times, on one stream or on branches beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kpu_ir.frontends.python.calls import for_people
from kpu_ir.runtime.base import AnyStream, Request, here
from kpu_ir.support.errors import KpuError


@dataclass(frozen=True)
class _Wait:
    """A branch waits for all that another did so far."""

    branch: int
    other: int


@dataclass(frozen=True)
class _Do:
    """A branch does something."""

    branch: int
    request: Request


@for_people
class Graph:
    """Captured operations. ``builder.complete`` makes it."""

    def __init__(self, like: AnyStream, steps: list[_Do | _Wait]) -> None:
        """``like``: the stream that it was captured from."""
        self.device, self.share, self.steps = like.device, like.share, tuple(steps)
        self._branches: dict[int, list[Any]] = {}

    def __repr__(self) -> str:
        return f"<Graph: {len(self._kinds()):,} operations>"

    def launch(self, stream: AnyStream) -> None:
        """Do all operations in a stream of the same share of the chip; branches in streams of their own,
        which begin where it stands and which it waits for. A launch that fails stops there."""
        if stream.device is not self.device or stream.share != self.share:
            raise KpuError(f"this graph was captured for share {self.share} of its device")
        if stream.captures:
            raise KpuError("a graph is launched in a stream, not captured in another graph")
        streams = self._streams(stream)
        for step in self.steps:
            if isinstance(step, _Do):
                streams[step.branch].submit(step.request)
            else:
                streams[step.branch].wait(streams[step.other])

    def update(self, builder: GraphBuilder) -> None:
        """Take the operations of another capture, of the same kinds in the same branches, on other
        memory. Raises ``KpuError`` where they are others."""
        new = builder.complete()
        if new._kinds() != self._kinds() or new.device is not self.device:
            raise KpuError("the operations are others: make a new graph of it")
        self.steps = new.steps

    def debug_dot_print(self) -> str:
        """The operations as a graph in DOT."""
        lines: list[str] = []
        last: dict[int, list[int]] = {0: []}
        for number, step in enumerate(self.steps):
            before = last.setdefault(step.branch, [])
            if isinstance(step, _Wait):
                before += last.get(step.other, [])
                continue
            lines.append(f'  n{number} [label="{step.request}"];')
            lines += (f"  n{n} -> n{number};" for n in before)
            last[step.branch] = [number]
        return "\n".join(["digraph {", *lines, "}"])

    def _kinds(self) -> list[tuple[int, str]]:
        return [(s.branch, s.request.what) for s in self.steps if isinstance(s, _Do)]

    def _streams(self, stream: Any) -> list[Any]:
        """A stream for each branch; the first is the one that launches."""
        count = 1 + max((step.branch for step in self.steps), default=0)
        known = self._branches.setdefault(stream.index, [])
        while len(known) < count - 1:
            like = {"priority": stream.priority, "share": stream.share}
            known.append(self.device.create_stream(**like))
        return [stream, *known]


@for_people
class GraphBuilder(AnyStream):
    """Takes operations as a stream does, and keeps them. ``stream.create_graph_builder`` makes it."""

    captures = True

    def __init__(self, stream: AnyStream, of: GraphBuilder | None = None, branch: int = 0) -> None:
        """For operations that ``stream`` could do; ``of``: that this is a branch of."""
        self.device, self.share, self.priority = stream.device, stream.share, stream.priority
        self.branch, self.first = branch, of or self
        self.steps: list[_Do | _Wait] = [] if of is None else of.steps
        self.open: set[int] = set() if of is None else of.open
        self.began = self.ended = ""

    def begin_building(self) -> GraphBuilder:
        """From here on operations are kept."""
        if self.first.began:
            raise KpuError(f"capturing began at {self.first.began}")
        self.first.began = here()
        return self

    def end_building(self) -> GraphBuilder:
        """No more operations."""
        self._check("the end")
        if self.branch or self.open:
            raise KpuError("branches are open", hint="builder.join(*branches) first")
        self.ended = here()
        return self

    def complete(self) -> Graph:
        """The graph, ready to be launched."""
        if not self.first.ended:
            raise KpuError("the capture has not ended", hint="builder.end_building() first")
        return Graph(self, self.steps)

    def split(self, count: int) -> tuple[GraphBuilder, ...]:
        """``count`` branches that go on from here beside each other; the first is this one."""
        self._check("a split")
        if count < 2:
            raise KpuError(f"a split into {count} branches")
        made: list[GraphBuilder] = [self]
        for _ in range(count - 1):
            branch = 1 + max((0, *self.open, *(step.branch for step in self.steps)))
            self.open.add(branch)
            self.steps.append(_Wait(branch, self.branch))
            made.append(GraphBuilder(self, self.first, branch))
        return tuple(made)

    def join(self, *branches: GraphBuilder) -> GraphBuilder:
        """What follows here comes after all that ``branches`` did; they end."""
        self._check("a join")
        for other in branches:
            if other.first is not self.first or (
                other.branch not in self.open and other is not self
            ):
                raise KpuError("a branch that is not open is joined")
        for other in branches:
            if other is not self:
                self.open.discard(other.branch)
                self.steps.append(_Wait(self.branch, other.branch))
        return self

    def submit(self, request: Request) -> None:
        """Keep an operation."""
        self._check(str(request))
        if self.branch and self.branch not in self.open:
            raise KpuError(f"{request}: this branch was joined")
        if request.waits:
            raise KpuError(
                f"{request}: the host cannot wait within a graph",
                hint="copy to pinned memory: device.pinned(shape, dtype)",
            )
        self.steps.append(_Do(self.branch, request))

    def free(self, allocation: Any) -> None:
        """Memory of a graph stays where it is. Raises ``KpuError``."""
        raise KpuError(f"memory is not freed within a graph: {allocation}")

    def _check(self, what: str) -> None:
        if not self.first.began or self.first.ended:
            raise KpuError(
                f"{what}: nothing is being captured", hint="builder.begin_building() first"
            )
