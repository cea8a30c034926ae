"""How much the property tests draw: little in ``make test``, ``KPU_DRAWS`` in ``make nightly``."""

import os
from typing import Any

from hypothesis import settings

MANY = os.environ.get("KPU_DRAWS", "")
"""How many examples each property test draws; empty for the few of ``make test``."""


def drawing(few: int, **more: Any) -> settings:
    """``few`` examples, the same ones each time; or ``KPU_DRAWS``, others each time."""
    many = int(MANY) if MANY else few
    return settings(max_examples=many, deadline=None, derandomize=not MANY, **more)
