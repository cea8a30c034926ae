"""Chosen schedules, kept between runs in one file.

The file is not believed blindly: one that somebody else could have written is left alone, an entry
says which key it belongs to, and ``search.py`` tries what it finds before it is used.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from kpu_ir.lowering.schedule import Schedule
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import cache_folder, distrusted, read_text, write_atomically
from kpu_ir.support.names import shortened, shown

VERSION = 23
"""Of the cache; raised whenever a schedule could come out differently."""

Entry = dict[str, Any]

_SAID: set[tuple[Path, str]] = set()
"""What this process has said of which file; a study compiles a thousand times."""

NUMBERS = tuple(f.name for f in fields(Schedule) if isinstance(f.default, int))


def cache_path() -> Path:
    """Where chosen schedules are kept between runs."""
    return cache_folder() / "schedules.json"


def schedule_from(entry: Entry) -> Schedule:
    """The schedule that ``asdict`` wrote; an error of some kind where it is not one."""
    values: dict[str, Any] = {**entry, "tile": tuple(entry["tile"])}
    schedule = Schedule(**values)
    schedule.check()
    if any(type(n) is not int for n in (*schedule.tile, *(values[n] for n in NUMBERS))):
        raise ValueError("a number is none")
    return schedule


@dataclass
class Cache:
    """Chosen schedules by kernel, machine, objective and effort. ``path``: their file; None keeps
    them in memory only."""

    path: Path | None = None
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    new: dict[str, Entry] = field(default_factory=dict[str, Entry])
    """What this process found; it goes into the file with ``save``."""

    @staticmethod
    def load(path: Path, quiet: bool = False) -> Cache:
        """The cache at ``path``. A file that is none, or that somebody else may write, is ignored
        with a word on stderr; the latter is not written either."""

        def ignored(why: str) -> None:
            if not quiet and (path, why) not in _SAID:
                _SAID.add((path, why))
                print(shown(f"{_short(path)}: {why}, ignored"), file=sys.stderr)

        try:
            for place in (path.parent, path):
                if why := distrusted(place):
                    ignored(why)
                    return Cache()
            data = json.loads(read_text(path))
            if data["version"] == VERSION and isinstance(data["entries"], dict):
                return Cache(path, data["entries"])
            ignored("a cache of another version")
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, RecursionError, KpuError):
            ignored("not a cache of schedules")
        return Cache(path)

    def get(self, key: str) -> Schedule | None:
        """The schedule under ``key``, if there is one."""
        try:
            entry = dict(self.entries[key])
            return schedule_from(entry) if entry.pop("key") == key else None
        except (KeyError, TypeError, ValueError, OverflowError, KpuError):
            return None

    def found(self, key: str) -> bool:
        """Whether this process found it."""
        return key in self.new

    def put(self, key: str, schedule: Schedule) -> None:
        """Remember; the file is written by ``save``."""
        self.entries[key] = self.new[key] = {"key": key, **asdict(schedule)}

    def save(self) -> None:
        """Write the file whole, merged with what another process wrote meanwhile, if there is
        anything new."""
        if self.path is None or not self.new:
            return
        entries = {**Cache.load(self.path, quiet=True).entries, **self.new}
        self.new = {}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = json.dumps({"version": VERSION, "entries": entries}, indent=0, sort_keys=True)
            write_atomically(self.path, text)
        except (OSError, KpuError) as e:
            print(shown(f"{_short(self.path)}: not written ({_short(e)})"), file=sys.stderr)


def _short(text: object) -> str:
    """A path, or what is said of one, as far as a line takes it."""
    return shortened(str(text), 200)
