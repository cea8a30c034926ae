"""Things in one short line: what ``repr`` shows, and the words of hints."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from itertools import islice

from kpu_ir.support.names import shown

LONGEST = 160
"""Characters of a line that describes something."""


def shortened(text: str, longest: int = LONGEST) -> str:
    """``text`` in one line; what is too much of it is left out before its last character."""
    line = shown(text)
    return line if len(line) <= longest else f"{line[: longest - 4]}...{line[-1]}"


def listed(parts: Iterable[str], most: int = 3) -> str:
    """The first of some texts: ``a, b, c, ...``; nothing of nothing."""
    first = list(islice(parts, most + 1))
    return ", ".join(first if len(first) <= most else [*first[:most], "..."])


def a_kind(value: object) -> str:
    """The type of a thing in words: ``an int``; a class by its name."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' or name == 'ndarray' else 'a'} {name}"


def allowed(name: object, known: Collection[str], what: str = "allowed") -> str:
    """A hint: the name that was probably meant, and all that there are."""
    near = difflib.get_close_matches(str(name), known, 1, 0.5)
    guess = f"did you mean '{near[0]}'? " if near else ""
    return f"{guess}{what}: {', '.join(known)}"
