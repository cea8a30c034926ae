"""Design-space exploration: a study runs workloads on many machines (docs/explore.md)."""

from __future__ import annotations

from kpu_ir.explore.evaluate import Point, evaluate
from kpu_ir.explore.study import Study

__all__ = ["Point", "Study", "evaluate"]
