"""Output files are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from kpu_ir.support.errors import KpuError

Bytes = bytes | memoryview


def write_atomically(path: str | Path, content: str | Bytes | Iterable[Bytes]) -> None:
    """Write ``content`` beside ``path`` and put it in its place in one step.

    ``content`` in pieces is never held whole. Raises ``KpuError`` if it cannot. Devices and pipes
    are written to directly.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise KpuError("the folder does not exist", str(target.parent), "make it first")
    data = content.encode() if isinstance(content, str) else content
    pieces = (data,) if isinstance(data, bytes | memoryview) else data
    temporary = ""
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                file.writelines(pieces)
            return
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as e:
        raise KpuError(f"cannot be written: {e.strerror or e}", str(target)) from None
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
