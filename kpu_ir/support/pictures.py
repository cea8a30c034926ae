"""Pictures of matplotlib as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from kpu_ir.support.files import write_atomically

FORMATS = ("svg", "png")


def write_picture(figure: Any, out: Path, **options: Any) -> list[Path]:
    """Write a figure in each of ``FORMATS`` in the place of ``out``'s suffix; the same picture gives the
    same bytes. ``options``: as ``savefig`` takes them. Returns the files.
    """
    written: list[Path] = []
    for kind in FORMATS:
        path, buffer = out.with_suffix(f".{kind}"), io.BytesIO()
        plain = {"Date": None} if kind == "svg" else {}
        figure.savefig(buffer, format=kind, metadata=plain, **options)
        write_atomically(path, buffer.getvalue())
        written.append(path)
    return written
