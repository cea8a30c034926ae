"""Where an operation stands, for messages: in a file, at a node of a model, in a function.

Passes hand locations on as far as they know them; kernels are shared by the nodes that are alike, so
that an error in one is said at the first call of it (``at_call``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager

from xdsl.dialects.builtin import FileLineColLoc, NameLoc, NoneAttr, StringAttr
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import Attribute, Operation

from kpu_ir.support.errors import KpuError, within_limits
from kpu_ir.support.files import read_text

EXACT = re.compile(r"^(.*: )?(the )?node |:\d+:\d+$")
"""What a place looks like that names a node, or a line and a column."""


def node_location(name: str, kind: str) -> NameLoc:
    """The location of what a node of a model becomes: its name, and its operator."""
    return NameLoc(StringAttr(name), NameLoc(StringAttr(kind), NoneAttr()))


def known(location: Attribute, kind: str) -> str | None:
    """A location as ``KpuError.where`` has it; ``kind`` where it does not know the operator."""
    match location:
        case FileLineColLoc(filename=file, line=line, column=column):
            return f"{file.data}:{line.data}:{column.data}"
        case NameLoc(desc=name, location=NameLoc(desc=operator)):
            return f"node {name.data!r} ({operator.data})"
        case NameLoc(desc=name):
            return f"node {name.data!r} ({kind})"
        case _:
            return None


def place_of(op: Operation | None) -> str | None:
    """``file:line:column`` or ``node 'name' (Op)`` of an operation, or of the nearest one around it
    that has a place; else the function that it stands in, else its kind."""
    at, function = op, None
    while at is not None:
        kind = f"@{at.callee.root_reference.data}" if isinstance(at, CallOp) else at.name
        place = known(at.location, kind)
        if place is not None:
            return place
        if isinstance(at, FuncOp):
            function = at.sym_name.data
        at = at.parent_op()
    if op is None:
        return None
    return f"@{function} ({op.name})" if function is not None else op.name


def place_of_call(func: FuncOp) -> str | None:
    """Where the first call of a function stands that has a place."""
    module = func.parent_op()
    if module is None:
        return None
    for op in module.walk():
        if isinstance(op, CallOp) and op.callee.root_reference.data == func.sym_name.data:
            place = known(op.location, f"@{func.sym_name.data}")
            if place is not None:
                return place
    return None


LINE = re.compile(r"(.*):(\d+):(\d+)", re.DOTALL)


def with_line(error: KpuError, path: str, text: Callable[[], str]) -> KpuError:
    """``error`` with the line that it is about and a caret, if that stands in ``path``, whose text
    is ``text()``, and the message does not show it yet."""
    found = LINE.fullmatch(error.where or "")
    if found is None or found[1] != path or "\n" in error.message:
        return error
    number, column = int(found[2]), int(found[3])
    lines = text().split("\n")
    if not 0 < number <= len(lines) or not 0 < column <= len(lines[number - 1]) + 1:
        return error
    return KpuError(f"{error.message}\n{caret(lines[number - 1], column)}", error.where, error.hint)


@contextmanager
def in_file(path: str) -> Generator[None]:
    """Errors about a line of a file show it; what exceeds a limit of this process is one as well."""
    try:
        with within_limits(path or None):
            yield
    except KpuError as e:
        raise with_line(e, path, lambda: read_text(path)) from None


WIDTH = 160
"""Characters of a line that a message shows."""


def caret(line: str, column: int, length: int = 1) -> str:
    """A line, or what of a long one is around ``column`` (from 1), and carets under ``length`` of its
    characters."""
    begin = max(0, column - WIDTH // 2) if len(line) > WIDTH else 0
    part = line[begin : begin + WIDTH].rstrip("\r\n")
    lead = "".join("\t" if c == "\t" else " " for c in part[: column - 1 - begin])
    marks = "^" * max(1, min(length, len(part) - len(lead)))
    return f"  {part}\n  {lead}{marks}"


@contextmanager
def at_call(of: FuncOp | str | None) -> Generator[None]:
    """Errors whose place is within a function or unknown, at its call: a function, or the place."""
    try:
        yield
    except KpuError as e:
        if e.where is not None and EXACT.search(e.where):
            raise
        place = place_of_call(of) if isinstance(of, FuncOp) else of
        raise KpuError(e.message, place or e.where, e.hint) from None
