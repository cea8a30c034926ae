"""Files of arrays (.npz): what they claim is read first, what is expected is unpacked then."""

from __future__ import annotations

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import opened, writing
from kpu_ir.support.names import shortened

Array = np.ndarray[Any, np.dtype[Any]]

SAVEZ = "write it with numpy.savez(path, name=array)"
MOST_ARRAYS = 10_000
DEFLATE = 1032
"""How many bytes may come from one, at most."""
LONGEST_NAME = 1000
"""Characters of an array's name: an archive takes 65,535 bytes."""


@dataclass(frozen=True)
class Claim:
    """What the header of an array says that follows."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Of all elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    def stand_in(self) -> Array:
        """An array of this shape and type that takes no room: zeros."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


class ArrayFile:
    """An .npz file whose arrays are read one by one, each no larger than it says in its header.

    ``claims``: shape and type of each, by name. Every error is a ``KpuError`` that names the file.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the headers."""
        self.path = str(path)
        self.claims: dict[str, Claim] = {}
        self.entries: dict[str, str] = {}
        with self._archive() as archive:
            if len(archive.namelist()) > MOST_ARRAYS:
                raise KpuError(f"it holds more than {MOST_ARRAYS} arrays", self.path)
            for entry in archive.namelist():
                name = entry.removesuffix(".npy")
                if name in self.claims:
                    raise KpuError(f"it holds two arrays '{name}'", self.path)
                self.entries[name] = entry
                with self._entry(archive, name) as file:
                    self.claims[name] = claim = _claim(file)
                    _check_size(archive.getinfo(entry), claim)

    def stand_ins(self) -> dict[str, Array]:
        """Arrays of zeros of the shapes and types that the file claims, to be checked first."""
        return {name: claim.stand_in() for name, claim in self.claims.items()}

    def read(self) -> dict[str, Array]:
        """All arrays by name."""
        with self._archive() as archive:
            return {name: self._array(archive, name) for name in self.claims}

    def _array(self, archive: zipfile.ZipFile, name: str) -> Array:
        claim = self.claims[name]
        with self._entry(archive, name) as file:
            if _claim(file) != claim:
                raise KpuError("it was changed while it was read")
            file.seek(0)
            return _read(file)

    @contextmanager
    def _archive(self) -> Generator[zipfile.ZipFile]:
        try:
            with opened(self.path) as file, zipfile.ZipFile(file) as archive:
                yield archive
        except zipfile.BadZipFile:
            raise KpuError("not an .npz file", self.path, SAVEZ) from None
        except (OSError, ValueError, NotImplementedError) as e:
            raise KpuError(f"cannot be read: {e}", self.path, SAVEZ) from None

    @contextmanager
    def _entry(self, archive: zipfile.ZipFile, name: str) -> Generator[BinaryIO]:
        """An array's bytes, unpacked as they are read."""
        where = f"{self.path}: array '{name}'"
        try:
            with archive.open(self.entries[name]) as file:
                yield cast(BinaryIO, file)
        except KpuError as e:
            raise KpuError(e.message, where, SAVEZ) from None
        except MemoryError:
            size = self.claims[name].bytes
            raise KpuError(f"there is no memory for its {size:,} bytes", where) from None
        except STUMBLES as e:
            raise KpuError(f"cannot be read: {e}", where, SAVEZ) from None


STUMBLES = (
    OSError, ValueError, EOFError, ArithmeticError, RuntimeError, NotImplementedError, SyntaxError,
    TypeError, LookupError, RecursionError, zipfile.BadZipFile, zlib.error, struct.error,
    tokenize.TokenError,
)  # fmt: skip
"""What zipfile and NumPy raise of entries that are damaged, encrypted or none."""


class _Spelt:
    """An array's bytes with a header that NumPy reads.

    ``numpy.savez`` calls all types of ml_dtypes plain bytes, but ``float8_e5m2`` a float of one byte,
    which ``numpy.load`` then refuses.
    """

    HEADERS = (10, 12)
    """Where the text of a header begins, in formats 1 and 2."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        begins = self.file.tell() in self.HEADERS
        data = self.file.read(size)
        return data.replace(b"'<f1'", b"'|V1'", 1) if begins and data[:1] == b"{" else data


def _read(file: BinaryIO) -> Array:
    """An array, all of it."""
    return np.lib.format.read_array(cast(Any, _Spelt(file)), allow_pickle=False)


def _claim(of: BinaryIO) -> Claim:
    """The header of an array."""
    file: Any = _Spelt(of)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:  # fields with names that are no latin-1, which no input has
        raise ValueError(f"format {version[0]}.{version[1]} of arrays is not read")
    if any(n < 0 for n in shape):
        raise ValueError(f"its shape is {shape}")
    if dtype.hasobject:
        raise ValueError("it holds objects, not numbers")
    return Claim(shape, dtype)


def _check_size(entry: zipfile.ZipInfo, claim: Claim) -> None:
    """Refuse an array that cannot be as large as it says."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed as NumPy does not")
    held = min(entry.file_size, entry.compress_size * DEFLATE)
    if claim.bytes > held:
        raise KpuError(f"it claims {claim.bytes:,} bytes, and holds no more than {held:,}")


def read_array(path: str | Path) -> Array:
    """The array of an .npy file. Raises ``KpuError`` where it is none."""
    with opened(path) as file:
        try:
            claim, begin = _claim(file), file.tell()
            held = file.seek(0, os.SEEK_END) - begin
            if claim.bytes > held:
                raise ValueError(f"it claims {claim.bytes:,} bytes, and holds {held:,}")
            file.seek(0)
            return _read(file)
        except STUMBLES as e:
            raise KpuError(
                f"cannot be read: {e}", str(path), "numpy.save writes .npy files"
            ) from None


def check_names(names: Mapping[str, Any], path: str) -> None:
    """Refuse names that no archive has, before anything is computed."""
    for name in names:
        if "\0" in name or len(name) > LONGEST_NAME:
            raise KpuError(f"an archive cannot hold an array called '{shortened(name)}'", path)


def write_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """An .npz file, whole or not at all. Types that NumPy has not are bytes in it."""
    check_names(arrays, str(path))
    with writing(path) as stream:
        # savez takes the name 'file' for itself; a device cannot go back, which zipfile copes with.
        with zipfile.ZipFile(stream, "w") as file:
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    array = np.asanyarray(array)
                    if array.dtype.isbuiltin == 2:  # what NumPy would call it, it may not read
                        array = array.view(f"V{array.dtype.itemsize}")
                    np.lib.format.write_array(entry, array, allow_pickle=False)
