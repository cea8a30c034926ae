"""The package itself: its version, its folder, since when its sources are loaded."""

from __future__ import annotations

from pathlib import Path
from time import time as _now

__version__ = "0.1.0"

LOADED = _now()
"""When this process began to load our sources: what was changed after it may or may not be loaded."""

ROOT = Path(__file__).parents[1]
"""The folder of ``kpu_ir``."""
