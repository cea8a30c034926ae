"""When garbage is looked for: not while a program is compiled, which makes objects by the hundred thousand
and keeps most of them."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def uncollected(kept: bool = False) -> Generator[None]:
    """Look for no garbage meanwhile. ``kept``: nor in what is there afterwards, for a command that compiles
    once and ends; what a process does so a second time is looked through as ever."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if kept and not gc.get_freeze_count():
            gc.freeze()
        if collecting:
            gc.enable()
