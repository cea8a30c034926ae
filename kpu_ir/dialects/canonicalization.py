"""The trait of operations that have canonicalization patterns.

Patterns stand in ``passes``, above the dialects. So a dialect does not name them: whoever loads it
(``kpu_ir.registry``, and so the universe of ``xdsl-opt``) says where they are, and the trait asks.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Operation
from xdsl.pattern_rewriter import RewritePattern
from xdsl.traits import HasCanonicalizationPatternsTrait

Patterns = Callable[[type[Operation]], tuple[RewritePattern, ...]]
"""The patterns of an operation, in the order in which they are tried."""

_sources: dict[str, Patterns] = {}


def provide(dialect: str, patterns: Patterns) -> None:
    """Say what canonicalizes the operations of a dialect."""
    _sources[dialect] = patterns


class Canonicalizes(HasCanonicalizationPatternsTrait):
    """``canonicalize`` rewrites the operation, by the patterns that its dialect was provided with."""

    def get_patterns(self, op: type[Operation]) -> tuple[RewritePattern, ...]:
        """None before a dialect is loaded by its name."""
        source = _sources.get(op.dialect_name())
        return source(op) if source else ()
