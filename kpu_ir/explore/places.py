"""Where a study's TOML says what: lines for errors, which Python's reader does not keep."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_\-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_\-]+))*)\s*="""
)
_PART = re.compile(r""""[^"]*"|'[^']*'|[A-Za-z0-9_\-]+""")

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Places:
    """The line of each key; ``name`` is the file's."""

    name: str
    text: str
    lines: dict[Path, int] = field(default_factory=dict[Path, int])

    @staticmethod
    def of(text: str, name: str) -> Places:
        """Read the headers and keys of a TOML file that is sound."""
        found = Places(name, text)
        table: Path = ()
        counts: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                parts = _parts(header[2])
                table = parts
                if header[1] == "[[":
                    at = counts.get(header[2], -1) + 1
                    counts[header[2]] = at
                    table = (*parts, at)
                found.lines.setdefault(table, number)
            elif key := _KEY.match(line):
                found.lines.setdefault((*table, *_parts(key[1])), number)
        return found

    def at(self, *path: str | int, word: str = "") -> str:
        """``file:line`` of a key, or of the first line from there on that has a word; of the longest
        part of the path that has a line, else of the file."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(tuple(path[:length]))
            if line is None:
                continue
            following = self.text.splitlines()[line - 1 :]
            ahead = next((i for i, one in enumerate(following) if word and word in one), 0)
            return f"{self.name}:{line + ahead}"
        return self.name


def _parts(key: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(key))
