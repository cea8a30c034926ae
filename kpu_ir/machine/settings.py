"""A machine's values as the words that ``--set`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kpu_ir.machine import Machine


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


def spared(costs: Iterable[str]) -> list[str]:
    """The settings that spare a machine these costs.

    >>> spared(["refresh"])
    ['external.refresh_interval=0', 'external.refresh_cycles=0']
    """
    return [
        f"{key}={value}"
        for name, value in Machine.nothing(costs).items()
        for key, value in flat({name: value})
    ]
