"""Whole numbers in options and in the environment, which come as text."""

from __future__ import annotations

import os

from kpu_ir.support.errors import KpuError
from kpu_ir.support.names import shortened

DIGITS = 18
"""Of the largest whole number that an option takes: more than any of them means anything by."""


def whole_number(text: str) -> int | None:
    """The number that ``text`` spells in ASCII digits, 18 of them at most; None if it spells none."""
    fine = text.isascii() and text.isdecimal() and len(text) <= DIGITS
    return int(text) if fine else None


def number_from(variable: str, default: int, what: str) -> int:
    """The number in a variable of the environment; ``default`` where it is empty or not there.

    Raises ``KpuError`` where it is none, which says ``what`` is expected.
    """
    text = os.environ.get(variable, "")
    if not text:
        return default
    number = whole_number(text)
    if number is None:
        raise KpuError(f"{variable} is '{shortened(text)}'", hint=what)
    return number
