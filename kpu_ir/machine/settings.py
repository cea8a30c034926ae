"""A machine's values as the words that ``--set`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """The machine's values, as ``--set`` takes them.

    >>> list(flat({"l2": {"banks": 4}, "fabric": {"chained": True}}))
    [('l2.banks', '4'), ('fabric.chained', 'true')]
    """
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else str(value)
