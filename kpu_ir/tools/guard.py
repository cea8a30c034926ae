"""Around a command: its streams, and what it prints where it cannot go on."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from kpu_ir.support.errors import KpuError, within_limits
from kpu_ir.support.names import shown


class Parser(argparse.ArgumentParser):
    """Options of a command: what is wrong with them is a ``KpuError``, as all that is wrong with its
    input. argparse's own way is all options on stderr, and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found."""
        refuse(self, message)


def refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """Raise what argparse found wrong with the options."""
    raise KpuError(message, hint=f"{parser.prog} --help tells the options")


def guarded(tool: str, work: Callable[[], int]) -> int:
    """Run a command: its exit status, 1 after one message on stderr where the input, a limit of this
    process or the streams are in the way. Every other exception is a bug of ours.

    Whoever reads our output may stop when they have seen enough: that is no error.
    """
    _streams()
    try:
        if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
            sys.stdout = _nowhere()
            raise KpuError("standard output is closed", hint="redirect it to /dev/null")
        _folder()
        with within_limits():
            status = work()
        sys.stdout.flush()
        return status
    except KpuError as e:
        return _fail(tool, str(e))
    except BrokenPipeError:
        _discard()
        return 0
    except OSError as e:  # of streams and folders: files say theirs as KpuErrors
        _discard()
        what = "standard output cannot be written" if e.filename is None else str(e.filename)
        return _fail(tool, f"{shown(what)}: {e.strerror or e}")
    except KeyboardInterrupt:
        print(f"{tool}: interrupted", file=sys.stderr)
        return 130


def _folder() -> None:
    """Refuse a working directory that is gone: Python imports nothing from there."""
    try:
        os.getcwd()
    except OSError as e:
        what = "the working directory cannot be used"
        raise KpuError(f"{what}: {e.strerror or e}", hint="cd into another one") from None


def _fail(tool: str, message: str) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _discard()
    print(f"{tool}: error: {message}", file=sys.stderr)
    return 1


def _streams() -> None:
    """Streams that show any name: what their encoding does not have is spelled out."""
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> io.TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")


def _discard() -> None:
    """Let what is still buffered go nowhere: Python would try again at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no real stream: a test's
        pass
