"""A table of rows as files that others read: CSV, and Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import write_atomically


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line a row; nothing where a row has no value."""
    out = io.StringIO()
    names = list(rows[0]) if rows else []
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _plain(v) for k, v in row.items()} for row in rows)
    write_atomically(path, out.getvalue())


def _plain(value: Any) -> Any:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value


def has_parquet() -> bool:
    """Whether Parquet can be written here."""
    return importlib.util.find_spec("pyarrow") is not None


def write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A column has one type: whole numbers become floats where some value is one. Raises ``KpuError``
    without pyarrow."""
    try:
        pa: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise KpuError("pyarrow is not installed", hint="pip install 'kpu-ir[explore]'") from None
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    table = pa.table({name: _one_type(values) for name, values in columns.items()})
    out = io.BytesIO()
    parquet.write_table(table, out)
    write_atomically(path, out.getvalue())


def _one_type(values: list[Any]) -> list[Any]:
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int, float}:
        return [None if v is None else float(v) for v in values]
    return values if len(kinds) < 2 else [None if v is None else str(v) for v in values]
