"""The one exception that means "the user's input is wrong"."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from kpu_ir.support.names import shown


class KpuError(Exception):
    """A mistake in what we were given: a model, an IR file, a machine, an option.

    ``where`` is ``file:line:col`` or ``node 'name' (Op)``; ``hint`` says what to do about it.
    Tools print it and exit 1. Every other exception is a bug of ours and keeps its traceback.
    """

    def __init__(self, message: str, where: str | None = None, hint: str | None = None) -> None:
        """A mistake, where it is, and what to do."""
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def anew(self) -> KpuError:
        """The same, not yet raised. Whoever remembers an error keeps this: one that was raised holds
        the frames that it went through, and so all that was known in them."""
        return KpuError(self.message, self.where, self.hint)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return shown(f"{place}{self.message}{hint}", keep="\n\t")


@contextmanager
def within_limits(where: str | None = None) -> Generator[None]:
    """What exceeds this process's memory, or nests deeper than Python does, as a ``KpuError``."""
    try:
        yield
    except MemoryError:
        raise KpuError(
            "this needs more memory than there is", where, "a smaller model, or more memory"
        ) from None
    except RecursionError:
        raise KpuError("this is nested too deeply", where) from None
