"""One file of named parts with a checksum for each: how programs are kept.

| offset | bytes | |
|---|---|---|
| 0 | 8 | ``MAGIC`` |
| 8 | 4 | format version, little-endian as all numbers |
| 12 | 8 | length of the header |
| 20 | 32 | SHA-256 of the 20 bytes above and the header |
| 52 | | header: a JSON object; its ``parts`` are name, size and SHA-256 of each part |
| | | the parts, each at a multiple of 64 with zeros before it; the last one ends the file |

Magic, version and where they stand never change, so that any version can refuse any other.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import read_bytes, writing

MAGIC = b"\x89KPU\r\n\x1a\n"
"""Like PNG's: no text, and spoilt by whatever changes line ends."""

VERSION = 2
ALIGNMENT = 64
FIXED = struct.Struct("<8sIQ")
PROLOGUE = FIXED.size + hashlib.sha256().digest_size

AGAIN = "copy it again, or compile the model again"


@dataclass(frozen=True, slots=True)
class Container:
    """The contents of a file: the header without ``parts``, and views of the parts."""

    header: dict[str, Any]
    parts: dict[str, memoryview]


def aligned(offset: int) -> int:
    """The next multiple of ``ALIGNMENT``."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def write(
    path: str | Path,
    header: Mapping[str, Any],
    parts: Mapping[str, memoryview],
    mode: int = 0o666,
) -> None:
    """Write a file, whole or not at all. Raises ``KpuError`` if it cannot."""
    table = [[name, len(p), hashlib.sha256(p).hexdigest()] for name, p in parts.items()]
    text = json.dumps({**header, "parts": table}, allow_nan=False, sort_keys=True).encode()
    fixed = FIXED.pack(MAGIC, VERSION, len(text))
    digest = hashlib.sha256(fixed + text).digest()

    def chunks() -> Iterator[bytes | memoryview]:
        yield fixed + digest + text
        at = PROLOGUE + len(text)
        for part in parts.values():
            yield bytes(aligned(at) - at)
            yield part
            at = aligned(at) + len(part)

    with writing(path, mode) as file:
        file.writelines(chunks())


def read(path: str | Path) -> Container:
    """The checked contents of a file: parts are read-only views of what was read.

    It is read and not mapped: what is checked here stays what runs, whatever becomes of the file.
    Raises ``KpuError`` for a file that is truncated, changed, of another kind or a newer version.
    """
    where = str(path)
    content = read_bytes(path)
    if not content:
        raise KpuError("truncated: the file is empty", where, AGAIN)
    header, at, data = _header(memoryview(content), where)
    end = at
    spans: dict[str, tuple[int, int, str]] = {}
    for name, size, digest in _table(header.pop("parts", None), where):
        spans[name] = (aligned(end), size, digest)
        end = aligned(end) + size
    if len(data) != end:
        kind = "truncated" if len(data) < end else "damaged"
        raise KpuError(f"{kind}: {len(data):,} bytes, expected {end:,}", where, AGAIN)
    parts: dict[str, memoryview] = {}
    for name, (begin, size, digest) in spans.items():
        part = data[begin : begin + size]
        if any(data[at:begin]) or hashlib.sha256(part).hexdigest() != digest:
            raise KpuError(f"damaged: part '{name}' is not what was written", where, AGAIN)
        parts[name] = part
        at = begin + size
    return Container(header, parts)


def _table(table: Any, where: str) -> list[tuple[str, int, str]]:
    """Name, size and checksum of each part."""
    rows: list[Any] = table if isinstance(table, list) else [None]
    for row in rows:
        kinds = [type(item) for item in row] if isinstance(row, list) else []
        if kinds != [str, int, str] or row[1] < 0:
            raise KpuError("damaged: its header has no table of parts", where, AGAIN)
    if len({row[0] for row in rows}) < len(rows):
        raise KpuError("damaged: two of its parts have one name", where, AGAIN)
    return [(row[0], row[1], row[2]) for row in rows]


def _header(data: memoryview, where: str) -> tuple[dict[str, Any], int, memoryview]:
    """The header, where it ends, and the data again."""
    start = bytes(data[: len(MAGIC)])
    if not MAGIC.startswith(start):
        raise KpuError("not a saved program", where, "write one with Compiled.save(path)")
    if len(data) < PROLOGUE:
        raise KpuError("truncated: its header is cut off", where, AGAIN)
    _, version, length = FIXED.unpack(data[: FIXED.size])
    if version > VERSION:
        raise KpuError(
            f"format {version} is newer than this kpu-ir, which reads {VERSION}",
            where,
            "update kpu-ir, or compile the model again",
        )
    if version < VERSION:  # its IR is spelled as it was then
        raise KpuError(
            f"format {version} is of an earlier kpu-ir, this one reads {VERSION}",
            where,
            "compile the model again",
        )
    end = PROLOGUE + length
    if end > len(data):
        raise KpuError("truncated: its header is cut off", where, AGAIN)
    checked = hashlib.sha256(data[: FIXED.size])
    text = data[PROLOGUE:end]
    checked.update(text)
    if version < 1 or checked.digest() != bytes(data[FIXED.size : PROLOGUE]):
        raise KpuError("damaged: its header is not what was written", where, AGAIN)
    try:
        header = json.loads(bytes(text))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise KpuError("damaged: its header is no JSON object", where, AGAIN)
    return header, end, data
