"""Reading IR text, with places: each operation knows its line, each error shows it."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import (
    FileLineColLoc,
    IntAttr,
    ModuleOp,
    NameLoc,
    StringAttr,
    UnknownLoc,
)
from xdsl.ir import Attribute, Operation, TypeAttribute
from xdsl.parser import Parser
from xdsl.utils.exceptions import DiagnosticException, MultipleSpansParseError, ParseError
from xdsl.utils.lexer import Span

from kpu_ir.errors import KpuError
from kpu_ir.printing import ELIDED


@dataclass(frozen=True)
class Source:
    """A text and where it is from."""

    text: str
    name: str
    line_offset: int = 0
    """Lines of the file before the text, when it is a piece of one."""

    def line(self, number: int) -> str:
        """Line ``number`` of the file, counted from 1; empty if the text does not hold it."""
        lines = self.text.split("\n")
        at = number - self.line_offset - 1
        return lines[at].rstrip("\r") if 0 <= at < len(lines) else ""


class LocatedParser(Parser):
    """A parser whose operations carry the line and column where they began.

    ``dense_resource<elided>``, which stands for values that were not printed, keeps its name.
    """

    refused: Span | None = None
    """Where the innermost type, attribute or operation begins whose verifier stopped the parser."""

    def __init__(
        self, ctx: Context, input: str | bytes, name: str = "<unknown>", line_offset: int = 0
    ) -> None:
        """``line_offset``: lines of the file before ``input``, when it is a piece of one."""
        text = input.decode("utf-8") if isinstance(input, bytes) else input
        super().__init__(ctx, text, name)
        self.dialect_resources.add(("builtin", ELIDED))
        self._name = StringAttr(name)
        self._line_offset = line_offset
        self._line_starts = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")]

    def parse_operation(self) -> Operation:
        """Parse one operation, and note where it stood."""
        span = self._current_token.span
        try:
            op = super().parse_operation()
        except DiagnosticException:
            self.refused = self.refused or span
            raise
        at = span.start
        if isinstance(op.location, UnknownLoc):
            line = bisect_right(self._line_starts, at)
            column = at - self._line_starts[line - 1] + 1
            op.location = FileLineColLoc(
                self._name, IntAttr(line + self._line_offset), IntAttr(column)
            )
        return op

    def parse_optional_type(self) -> TypeAttribute | None:
        """A type; it is noted where one stood that does not verify."""
        span = self._current_token.span
        try:
            return super().parse_optional_type()
        except DiagnosticException:
            self.refused = self.refused or span
            raise

    def parse_optional_attribute(self) -> Attribute | None:
        """An attribute; it is noted where one stood that does not verify."""
        span = self._current_token.span
        try:
            return super().parse_optional_attribute()
        except DiagnosticException:
            self.refused = self.refused or span
            raise

    def refusal(self, error: DiagnosticException) -> KpuError:
        """What a verifier said while the text was parsed, with its place."""
        if self.refused is None:
            return KpuError(str(error), self._name.data)
        span = replace(self.refused, line_offset=self._line_offset)
        return parse_error(ParseError(span, str(error)))

    def _get_op_by_name(self, name: str) -> type[Operation]:
        """The operation's class. Its error stands at the name, and knows a better one."""
        try:
            return super()._get_op_by_name(name)
        except ParseError as e:
            text = self.lexer.input.content
            start = text.rfind(name, 0, self._current_token.span.start)
            dialect = self.ctx.get_optional_dialect(name.partition(".")[0])
            known = [op.name for op in dialect.operations] if dialect else []
            near = difflib.get_close_matches(name, known, 1)
            guess = f"; did you mean {near[0]}?" if near else ""
            self.raise_error(e.msg + guess, start, start + len(name))


def parse_error(error: ParseError) -> KpuError:
    """A syntax error with its place, the source line and a caret."""
    message = [error.msg, *error.span.print_with_context().splitlines()[1:3]]
    if isinstance(error, MultipleSpansParseError):
        for span, text in error.refs:
            message.append(f"{span.get_location()}: {text or error.ref_text or 'see here'}")
            message += span.print_with_context().splitlines()[1:3]
    first, *rest = message
    return KpuError("\n  ".join([first, *rest]), str(error.span.get_location()))


def verify_error(module: Operation, error: Exception, source: Source | None = None) -> KpuError:
    """A verifier's message with the place of the operation that it is about.

    The line of ``source`` is shown if the operation stands in it.
    """
    return error_at(failing(module), str(error).strip() or type(error).__name__, source)


def error_at(op: Operation | None, message: str, source: Source | None = None) -> KpuError:
    """An error about one operation; its line of ``source`` with a caret, if it stands there."""
    location = op.location if op is not None else None
    if isinstance(location, FileLineColLoc) and source and source.name == location.filename.data:
        line, column = source.line(location.line.data), location.column.data
        if line:
            message = f"{message}\n  {line}\n  {' ' * (column - 1)}^"
    return KpuError(message, place_of(op))


def failing(module: Operation) -> Operation | None:
    """The innermost operation that does not verify by itself."""
    for op in module.walk():
        try:
            op.verify(verify_nested_ops=False)
        except Exception:
            return op
    return None


def place_of(op: Operation | None) -> str | None:
    """``file:line:column`` or ``node 'name' (Op)`` of an operation; its kind if it has no place."""
    if op is None:
        return None
    match op.location:
        case FileLineColLoc(filename=file, line=line, column=column):
            return f"{file.data}:{line.data}:{column.data}"
        case NameLoc(desc=name):
            return f"node '{name.data}' ({op.name})"
        case _:
            return op.name


def parse_module(text: str, name: str, ctx: Context) -> ModuleOp:
    """The verified module in ``text``. Raises ``KpuError`` with file, line, column and a caret."""
    parser = LocatedParser(ctx, text, name)
    try:
        module = parser.parse_module()
    except ParseError as e:
        raise parse_error(e) from None
    except DiagnosticException as e:
        raise parser.refusal(e) from None
    try:
        module.verify()
    except DiagnosticException as e:
        raise verify_error(module, e, Source(text, name)) from None
    return module


def load_module(path: str | Path, ctx: Context) -> ModuleOp:
    """The verified module in a file. Raises ``KpuError`` with file, line, column and a caret."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as e:
        raise KpuError(f"cannot be read: {e.strerror or e}", str(path)) from None
    except UnicodeDecodeError:
        raise KpuError("cannot be read: it is not UTF-8 text", str(path)) from None
    return parse_module(text, str(path), ctx)
