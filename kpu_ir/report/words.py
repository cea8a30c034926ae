"""Figures, causes and names as a person reads them."""

from __future__ import annotations

from rich.text import Text

from kpu_ir.support.names import shown

NAMES = {
    "compute": "array",
    "dma": "external",
    "mover": "movers",
    "streamer": "streamers",
    "vector": "vector",
}
"""What binds, in a word."""


def size(n: float) -> str:
    """Bytes for a person: ``1.50 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.2f} {unit}"
        n /= 1024
    return f"{n:.2f} GiB"


def percent(part: float, whole: float) -> str:
    """A share with one decimal."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def in_words(cause: str) -> str:
    """What an engine waited for: the simulator's cause as a person says it."""
    kind, _, rest = cause.partition(" ")
    match kind:
        case "operand":
            ring, _, producer = rest.partition(" from ")
            return f"data in {ring} from {producer}"
        case "slot":
            return f"a free slot of {rest}"
        case "engine":
            return f"{rest} to be free"
        case "tensor":
            return "a tensor of an earlier kernel"
        case _:
            return cause


def plural(number: int, word: str) -> str:
    """``1 operator``, ``2 operators``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def words(text: str, style: str = "") -> Text:
    """Text for a console, as it is: no markup, and nothing that a terminal would obey."""
    return Text(shown(text, keep="\n"), style=style)
