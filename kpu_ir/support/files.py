"""Files: inputs are regular files, read whole and once; outputs are written whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from kpu_ir.support.errors import KpuError

try:
    import fcntl
except ImportError:  # pragma: no cover - not on this system
    fcntl = None

Bytes = bytes | memoryview

LARGEST_TEXT = 1 << 31
"""Bytes of a file that is read as text, or by protobuf."""


def path_of(given: Any) -> Path:
    """A path as a person gives it. Raises ``KpuError`` for what is none."""
    if not isinstance(given, str | os.PathLike):
        raise KpuError(f"expected a path, got {given!r:.40} ({type(given).__name__})")
    return Path(given)


def cache_folder() -> Path:
    """What is kept between runs is in it: ``KPU_IR_CACHE``, or in the user's cache folder."""
    root = os.environ.get("KPU_IR_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "kpu-ir"
    )
    return Path(root)


# -- reading --------------------------------------------------------------------------------------


@contextmanager
def opened(path: str | Path) -> Generator[BufferedReader]:
    """A regular file, open for reading. Raises ``KpuError`` for what is none, without waiting.

    What was opened is asked, not the name: whoever puts a pipe in its place is too late.
    """
    where = str(path)
    try:
        # A pipe would wait for its writer, a terminal might become ours.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
        handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise KpuError("cannot be read: there is no such file", where) from None
    except OSError as e:
        raise KpuError(f"cannot be read: {e.strerror or e}", where) from None
    except ValueError as e:  # a NUL in the name, a surrogate that no encoding has
        raise KpuError(f"cannot be read: {e}", where) from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        raise KpuError(f"expected a file, got {_kind(kind)}", where)
    with os.fdopen(handle, "rb") as file:
        yield file


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((word for test, word in kinds if test(mode)), "a device")


def read_bytes(path: str | Path, most: int | None = None) -> bytes:
    """All of a regular file, at most ``most`` bytes. Raises ``KpuError`` where that cannot be.

    Files are read and not mapped: what somebody else cuts or changes later stays as it was.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise KpuError(f"its {size:,} bytes are more than {most:,}", str(path))
        return read_exactly(file, size, str(path))


def read_exactly(file: BinaryIO, size: int, where: str) -> bytes:
    """The next ``size`` bytes. Raises ``KpuError`` where there are fewer or no memory for them."""
    try:
        data = file.read(size)
    except OSError as e:
        raise KpuError(f"cannot be read: {e.strerror or e}", where) from None
    except MemoryError:
        raise KpuError(f"there is no memory for its {size:,} bytes", where) from None
    if len(data) < size:
        raise KpuError(f"it was cut while it was read: {len(data):,} bytes of {size:,}", where)
    return data


def read_text(path: str | Path, most: int = LARGEST_TEXT) -> str:
    """The text of a regular file. Raises ``KpuError`` where it is none."""
    data = read_bytes(path, most)
    try:
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise KpuError("cannot be read: it is not UTF-8 text", str(path)) from None


def read_input() -> str:
    """The text of standard input. Raises ``KpuError`` where it is none."""
    try:
        return sys.stdin.buffer.read().decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise KpuError("cannot be read: it is not UTF-8 text", "stdin") from None


def distrusted(path: str | Path) -> str | None:
    """Why a file or folder that only we should have written may be somebody else's work, if so."""
    if not hasattr(os, "geteuid"):
        return None
    found = os.stat(path)
    if found.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user"
    if found.st_mode & stat.S_ISVTX:  # as /tmp is: who did not make a file there cannot replace it
        return None
    group = found.st_mode & stat.S_IWGRP and not _private(found.st_gid)
    return "others may write to it" if group or found.st_mode & stat.S_IWOTH else None


def _private(group: int) -> bool:
    """Whether we are the only one in a group, as where every user has one of that name."""
    import grp
    import pwd

    try:
        found, user = grp.getgrgid(group), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return found.gr_name == user and set(found.gr_mem) <= {user}


# -- writing --------------------------------------------------------------------------------------


def write_atomically(path: str | Path, content: str | Bytes | Iterable[Bytes]) -> None:
    """Write ``content``, whole or not at all: see ``writing``. Pieces are never held together; of
    text, what UTF-8 does not have is spelled out (a file's name need not be any text)."""
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with writing(path) as file:
        file.writelines((data,) if isinstance(data, bytes | memoryview) else data)


@contextmanager
def writing(path: str | Path, mode: int = 0o666) -> Generator[BinaryIO]:
    """A file to write to that stands beside ``path`` until all is written, and then in its place.

    A link stays one: what it points to is replaced. Devices and pipes are written to directly. What
    writers of the same file left that were killed is removed. Raises ``KpuError`` if it cannot be
    written. ``mode`` is for a new file, less what the process masks.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_symlink():  # realpath gives up on a loop
            raise KpuError("cannot be written: its links go round in a circle", str(path))
        if not target.parent.is_dir():
            raise KpuError("the folder does not exist", str(target.parent), "make it first")
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file
            return
        remove_leftovers(target)
        file, temporary = _beside(target)
        try:
            with file:
                yield file
                file.flush()
                os.chmod(temporary, mode & ~_umask())
                os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as e:
        raise KpuError(f"cannot be written: {e.strerror or e}", str(path)) from None
    except ValueError as e:  # a NUL in the name
        raise KpuError(f"cannot be written: {e}", str(path)) from None


def _beside(target: Path) -> tuple[BinaryIO, Path]:
    """A new file beside ``target``, and its name. It is locked as long as its writer lives."""
    while True:
        handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=PART, dir=target.parent)
        file = os.fdopen(handle, "wb")
        _lock(file)
        with suppress(FileNotFoundError):  # taken for a leftover before it was locked
            if os.path.samestat(os.fstat(handle), os.stat(name)):
                return file, Path(name)
        file.close()


PART = ".part"
"""How the name of a file ends that is being written; it begins with a dot and the target's name."""


def _prefix(target: Path) -> str:
    """How a file begins that is being written; names have 255 bytes at most."""
    name = os.fsencode(target.name)[:200]
    return f".{os.fsdecode(name)}."


def remove_leftovers(target: Path) -> None:
    """Remove what writers of ``target`` left that were killed: what nobody holds a lock on."""
    if fcntl is None:
        return
    prefix = _prefix(target)
    with suppress(OSError):
        found = [n for n in os.listdir(target.parent) if n.startswith(prefix)]
        for name in found:
            if name.endswith(PART):
                remove_if_left(target.parent / name)


def remove_if_left(path: Path) -> None:
    """Remove a file that was being written, if its writer is no more."""
    with suppress(OSError, KpuError), opened(path) as file:
        if os.fstat(file.fileno()).st_uid == os.geteuid():
            assert fcntl is not None
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its writer lives
            path.unlink()


def _lock(file: BinaryIO) -> None:
    """Hold a lock until the file is closed, or its writer ends in whatever way."""
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
