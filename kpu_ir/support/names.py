"""Names from files are data: what of them may be shown as it is, and what is spelled out."""

from __future__ import annotations

from functools import cache


def shown(text: str, keep: str = "") -> str:
    r"""``text`` without what moves a cursor, colours a terminal or cannot be encoded: such
    characters as escapes (``\x1b``). Those of ``keep`` stay."""
    return text if text.isprintable() else text.translate(_table(keep))


def shortened(text: str, most: int = 40) -> str:
    """The beginning of a text that may be long, with dots where it is."""
    return text if len(text) <= most else f"{text[:most]}..."


@cache
def _table(keep: str) -> _Spelt:
    return _Spelt((ord(c), c) for c in keep)


class _Spelt(dict[int, str]):
    """What stands for each character; filled as they come."""

    def __missing__(self, code: int) -> str:
        c = chr(code)
        self[code] = c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        return self[code]
