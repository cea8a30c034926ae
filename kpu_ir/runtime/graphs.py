"""Graphs: operations captured once, launched many times."""

from __future__ import annotations

from typing import Any

from kpu_ir.frontends.python.calls import for_people
from kpu_ir.runtime.base import AnyStream, Request, here
from kpu_ir.support.errors import KpuError


@for_people
class Graph:
    """Captured operations. ``launch`` does them all, in order, in a stream."""

    def __init__(self, like: AnyStream, requests: list[Request]) -> None:
        """``like``: the stream that it was captured from."""
        self.device, self.share, self.requests = like.device, like.share, tuple(requests)

    def __repr__(self) -> str:
        return f"<Graph: {len(self.requests):,} operations>"

    def launch(self, stream: AnyStream) -> None:
        """Do all operations, in a stream of the same share of the chip."""
        if stream.device is not self.device or stream.share != self.share:
            raise KpuError(f"this graph was captured for share {self.share} of its device")
        for request in self.requests:
            stream.submit(request)

    def debug_dot_print(self) -> str:
        """The operations as a graph in DOT."""
        nodes = [f'  n{i} [label="{r.what}"];' for i, r in enumerate(self.requests)]
        edges = [f"  n{i} -> n{i + 1};" for i in range(len(self.requests) - 1)]
        return "\n".join(["digraph {", *nodes, *edges, "}"])


@for_people
class GraphBuilder(AnyStream):
    """Takes operations as a stream does, and keeps them. ``stream.create_graph_builder`` makes it."""

    captures = True

    def __init__(self, stream: AnyStream) -> None:
        """For operations that ``stream`` could do."""
        self.device, self.share = stream.device, stream.share
        self.requests: list[Request] = []
        self.began = self.ended = ""

    def begin_building(self) -> GraphBuilder:
        """From here on operations are kept."""
        if self.began:
            raise KpuError(f"capturing began at {self.began}")
        self.began = here()
        return self

    def end_building(self) -> GraphBuilder:
        """No more operations."""
        if not self.began or self.ended:
            raise KpuError("nothing is being captured", hint="builder.begin_building() first")
        self.ended = here()
        return self

    def complete(self) -> Graph:
        """The graph, ready to be launched."""
        if not self.ended:
            raise KpuError("the capture has not ended", hint="builder.end_building() first")
        return Graph(self, self.requests)

    def submit(self, request: Request) -> None:
        """Keep an operation."""
        if not self.began or self.ended:
            raise KpuError(
                f"{request.what}: nothing is being captured", hint="begin_building() first"
            )
        if request.waits:
            raise KpuError(
                f"{request.what}: the host cannot wait within a graph",
                hint="copy to pinned memory: device.pinned(shape, dtype)",
            )
        self.requests.append(request)

    def free(self, allocation: Any) -> None:
        """Memory of a graph stays where it is. Raises ``KpuError``."""
        raise KpuError(f"memory is not freed within a graph: {allocation}")
