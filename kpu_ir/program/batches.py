"""A program run on many inputs, with a progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import a_kind

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ShapedType

Array = np.ndarray[Any, np.dtype[Any]]
Batch = Mapping[str, Any] | Iterable[Mapping[str, Any]]
Runner = Callable[[Mapping[str, Any]], dict[str, Array]]
"""A program: inputs by name in, outputs by name out."""


def run_batch(
    run: Runner,
    ports: Sequence[tuple[str, ShapedType]],
    batch: Batch,
    progress: bool | None = None,
) -> Iterator[dict[str, Array]]:
    """Outputs by name for each item of ``batch``, computed when they are asked for.

    ``run`` is the program, ``ports`` its inputs by name and type.
    ``batch``: inputs by name, one mapping an item; or one mapping of arrays that hold all items,
    along a new first axis (n x shape) or, longer, along the program's own first axis.
    ``progress``: a bar on stderr; None shows it on a terminal.
    Raises ``KpuError`` that says which item is wrong.
    """
    if isinstance(batch, Mapping):
        items: Iterable[Mapping[str, Any]] = split(ports, cast(Any, batch))
    elif isinstance(cast(Any, batch), Iterable):
        items = batch
    else:
        hint = "give a list of mappings, or one mapping of stacked arrays"
        raise KpuError(f"a batch is none of inputs: {a_kind(batch)}", hint=hint)
    return _run(run, items, sys.stderr.isatty() if progress is None else progress)


def _run(
    run: Runner, items: Iterable[Mapping[str, Any]], progress: bool
) -> Iterator[dict[str, Array]]:
    for number, item in enumerate(_watched(items) if progress else items):
        try:
            outputs = run(item)
        except KpuError as e:
            place = f"item {number}" if e.where is None else f"item {number}: {e.where}"
            raise KpuError(e.message, place, e.hint) from None
        yield outputs


def _watched(items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The items, with a bar on stderr of how many are done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    total = len(items) if isinstance(items, Sized) else None
    columns = (TextColumn("running"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, markup=False), transient=True) as bar:
        yield from bar.track(items, total=total)


def split(
    expected: Sequence[tuple[str, ShapedType]], batch: Mapping[str, Any]
) -> list[dict[str, Array]]:
    """The items of arrays that hold all of them, for inputs of the ``expected`` names and types.

    Raises ``KpuError`` where they do not agree.
    """
    ports = {name: tuple(type.get_shape()) for name, type in expected}
    pieces: dict[str, list[Array]] = {}
    for name, values in batch.items():
        if name not in ports:
            raise KpuError(f"there is no input '{name}'", hint=f"inputs: {', '.join(ports)}")
        pieces[name] = _pieces(name, np.asarray(values), ports[name])
    counts = {name: len(p) for name, p in pieces.items()}
    if len(set(counts.values())) > 1:
        words = ", ".join(f"'{name}' {n}" for name, n in counts.items())
        raise KpuError(f"inputs hold different numbers of items: {words}")
    number = next(iter(counts.values()), 0)
    return [{name: p[i] for name, p in pieces.items()} for i in range(number)]


def stack(
    expected: Sequence[tuple[str, ShapedType]],
    batch: Mapping[str, Any],
    outputs: Sequence[Mapping[str, Array]],
) -> dict[str, Array]:
    """The outputs of all items of ``batch``, at least one, in one array a name.

    As the inputs came: along a new first axis (n x shape); or along the outputs' own, where all
    inputs were longer along theirs.
    """
    along = all(np.ndim(batch[n]) == len(t.get_shape()) for n, t in expected if n in batch)
    result: dict[str, Array] = {}
    for name in outputs[0]:
        values = [item[name] for item in outputs]
        own = along and values[0].ndim > 0
        result[name] = np.concatenate(values) if own else np.stack(values)
    return result


MOST_ITEMS = 1 << 20
"""Of a batch: each is an array of its own."""


def _pieces(name: str, array: Array, shape: tuple[int, ...]) -> list[Array]:
    if array.ndim and len(array) > MOST_ITEMS * max(1, shape[0] if shape else 1):
        raise KpuError(f"input '{name}': a batch holds at most {MOST_ITEMS:,} items")
    if array.ndim and array.shape[1:] == shape:
        return list(array)
    pieced = array.ndim and shape and array.shape[1:] == shape[1:] and shape[0]
    if pieced and len(array) % shape[0] == 0:
        return np.split(array, len(array) // shape[0]) if len(array) else []
    whole = " x ".join(str(n) for n in ("n", *shape))
    raise KpuError(
        f"input '{name}': expected items of shape {shape}, got an array of {array.shape}",
        hint=f"stack them: {whole}",
    )
