"""Compiled programs kept between runs, in saved form (``saved.py``), by what they depend on.

The key (``keys.py``) has all of that: a changed compiler finds nothing. An entry holds its key; one
that holds another, or that others may have written, is not used. Entries are whole files put in place
in one step and checked when they are read, so that processes need no lock: two that compile the same
write the same. The least recently used ones are removed beyond a size (``KPU_IR_CACHE_BYTES``, 0 for
no cache). What compiles is imported where a program is read or written: its figures need none of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpu_ir.program.keys import limit
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import (
    PART,
    cache_folder,
    distrusted,
    read_text,
    remove_if_left,
    write_atomically,
)
from kpu_ir.support.names import shortened, shown

if TYPE_CHECKING:
    from kpu_ir.program.compiled import Compiled


SUFFIX = ".kpu"
FIGURES = ".figures.json"
"""What a program takes, beside it: whoever asks for no more need not read the program."""

STALE_SECONDS = 24 * 3600
"""A file half written that is older than this has no writer any more."""


@dataclass(frozen=True)
class CompileCache:
    """A folder of saved programs."""

    folder: Path
    limit: int

    @staticmethod
    def default() -> CompileCache:
        """Beside the cache of schedules."""
        return CompileCache(cache_folder() / "programs", limit())

    def get(self, key: str, source: str = "") -> Compiled | None:
        """The program under ``key``, if there is a sound one; it counts as used now."""
        path = self.folder / f"{key}{SUFFIX}"
        try:
            if not path.is_file():
                return None
            from kpu_ir.program.compiled import open

            self.trust()
            refused = distrusted(path)
            if refused:
                raise KpuError(refused, str(path))
            found = open(path, key)
        except (KpuError, OSError) as e:  # damaged, another's, removed meanwhile
            print(shown(f"{_short(path)}: {_why(e)}; compiled again"), file=sys.stderr)
            return None
        with suppress(OSError):  # a folder that may only be read
            os.utime(path)
        found.source = source
        return found

    def figures(self, key: str) -> dict[str, Any] | None:
        """The figures of the program under ``key``, if they and it are there; it counts as used now."""
        program, path = (self.folder / f"{key}{end}" for end in (SUFFIX, FIGURES))
        try:
            if not (program.is_file() and path.is_file()):
                return None
            self.trust()
            refused = distrusted(path)
            if refused:
                raise KpuError(refused, str(path))
            found = json.loads(read_text(path))
            if found["key"] != key or found["digest"] != _digest(found["figures"]):
                raise KpuError("it is another's, or damaged", str(path))
        except (KpuError, OSError) as e:
            print(shown(f"{_short(path)}: {_why(e)}; timed again"), file=sys.stderr)
            return None
        except (ValueError, LookupError, TypeError, RecursionError):
            print(shown(f"{_short(path)}: it is damaged; timed again"), file=sys.stderr)
            return None
        with suppress(OSError):  # a folder that may only be read
            os.utime(program)
        return found["figures"]

    def put_figures(self, key: str, figures: dict[str, Any]) -> None:
        """Keep the figures of the program under ``key``, if it is there itself."""
        if not (self.folder / f"{key}{SUFFIX}").is_file():
            return
        kept = {"key": key, "digest": _digest(figures), "figures": figures}
        try:
            self.trust()
            write_atomically(self.folder / f"{key}{FIGURES}", json.dumps(kept))
        except (OSError, KpuError) as e:
            print(shown(f"{_short(self.folder)}: figures not kept ({_why(e)})"), file=sys.stderr)

    def trust(self) -> None:
        """Raise ``KpuError`` where others may have written to the folder."""
        for folder in (self.folder.parent, self.folder):
            refused = distrusted(folder)
            if refused:
                raise KpuError(f"the folder is not used: {refused}", str(folder))

    def put(self, key: str, compiled: Compiled) -> None:
        """Keep a program, and remove what was not used for longest beyond the limit.

        What cannot be written is said on stderr; the program runs all the same.
        """
        if weight_bytes(compiled) > self.limit:
            return
        try:
            self.folder.parent.mkdir(0o700, parents=True, exist_ok=True)
            self.folder.mkdir(0o700, exist_ok=True)
            self.trust()
            from kpu_ir.program.saved import save

            save(compiled, self.folder / f"{key}{SUFFIX}", key)
            self.shrink()
        except (OSError, KpuError) as e:
            print(shown(f"{_short(self.folder)}: program not kept ({_why(e)})"), file=sys.stderr)

    def shrink(self) -> None:
        """Remove the least recently used entries beyond the limit, and what writers left that were
        killed."""
        now = time.time()
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            try:
                found = path.stat()
                if path.suffix == SUFFIX:
                    entries.append((found.st_mtime, found.st_size, path))
                elif path.name.endswith(FIGURES):
                    if not _program_of(path).exists():
                        path.unlink()
                elif path.name.startswith(".") and now - found.st_mtime > STALE_SECONDS:
                    path.unlink()
                elif path.name.endswith(PART):
                    remove_if_left(path)
            except FileNotFoundError:  # another process was faster
                continue
        total = 0
        for _, size, path in sorted(entries, reverse=True):
            total += size
            if total > self.limit:
                path.unlink(missing_ok=True)
                path.with_name(path.name.removesuffix(SUFFIX) + FIGURES).unlink(missing_ok=True)


def _program_of(figures: Path) -> Path:
    return figures.with_name(figures.name.removesuffix(FIGURES) + SUFFIX)


def _digest(figures: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(figures, sort_keys=True).encode()).hexdigest()


def _why(error: KpuError | OSError) -> str:
    return _short(error.message if isinstance(error, KpuError) else error.strerror or error)


def _short(text: object) -> str:
    """A path, or what is said of one, as far as a line takes it."""
    return shortened(str(text), 200)


def weight_bytes(compiled: Compiled) -> int:
    """Bytes of constants."""
    return sum(b.bytes for b in compiled.program.buffers if b.kind == "constant")


def through(key: Callable[[], str | None], source: str, build: Callable[[], Compiled]) -> Compiled:
    """The program under ``key()``, else what ``build`` makes, kept for the next time.

    ``compile_seconds`` of one that was found is what finding it took.
    """
    began = time.perf_counter()
    wanted = key()
    if wanted is None:
        return build()
    programs = CompileCache.default()
    found = programs.get(wanted, source)
    if found is not None:
        found.compile_seconds = time.perf_counter() - began
        found.kept_as = wanted
        return found
    built = build()
    if key() == wanted:  # else the file was changed while it was read
        programs.put(wanted, built)
        built.kept_as = wanted
    return built
