"""Results on disk: one file a row and one a time, named by the hash of what decides them.

Files are put in place whole, and any number of processes may write: two that evaluate the same
point write the same. What is damaged is evaluated again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import read_text, write_atomically

FORMAT = 1
"""Of the files."""


@dataclass(frozen=True)
class Store:
    """The folder of a study's results."""

    folder: Path

    def row(self, key: str) -> dict[str, Any] | None:
        """The row of a point, if there is one."""
        found = self.read("rows", key)
        row = found.get("row") if found else None
        return row if isinstance(row, dict) and row.get("key") == key else None

    def configuration(self, key: str) -> dict[str, Any] | None:
        """What gave a row."""
        found = self.read("rows", key)
        return found.get("configuration") if found else None

    def timing(self, key: str) -> dict[str, Any] | None:
        """What time yielded, if that is known."""
        found = self.read("times", key)
        return found.get("timing") if found else None

    def keep_row(self, key: str, configuration: dict[str, Any], row: dict[str, Any]) -> None:
        """Write a row with all that decides it."""
        self.write("rows", key, {"configuration": configuration, "row": row})

    def keep_timing(self, key: str, timing: dict[str, Any]) -> None:
        """Write what time yielded."""
        self.write("times", key, {"timing": timing})

    def path(self, kind: str, key: str) -> Path:
        """Where a result stands."""
        return self.folder / kind / key[:2] / f"{key}.json"

    def read(self, kind: str, key: str) -> dict[str, Any] | None:
        """A file's data; None where there is none, or one that is damaged or of another format."""
        path = self.path(kind, key)
        try:
            data = json.loads(read_text(path)) if path.exists() else None
        except (KpuError, ValueError, RecursionError):
            return None
        sound = isinstance(data, dict) and data.get("format") == FORMAT and data.get("key") == key
        return data if sound else None

    def write(self, kind: str, key: str, data: dict[str, Any]) -> None:
        """Put a file in place. Raises ``KpuError`` where it cannot be written."""
        path = self.path(kind, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise KpuError(f"cannot be written: {e.strerror or e}", str(path)) from None
        text = json.dumps({"format": FORMAT, "key": key, **data}, indent=1)
        write_atomically(path, f"{text}\n")
