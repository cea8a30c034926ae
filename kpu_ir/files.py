"""Output files are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from kpu_ir.errors import KpuError


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write ``content`` beside ``path`` and put it in its place in one step.

    Raises ``KpuError`` if it cannot. Devices and pipes are written to directly.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise KpuError("the folder does not exist", str(target.parent), "make it first")
    data = content.encode() if isinstance(content, str) else content
    temporary = ""
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
            return
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as e:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise KpuError(f"cannot be written: {e.strerror or e}", str(target)) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
