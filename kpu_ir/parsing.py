"""Reading IR text, with places: each operation knows its line, each error says it."""

from __future__ import annotations

from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import FileLineColLoc, IntAttr, ModuleOp, StringAttr, UnknownLoc
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.utils.exceptions import DiagnosticException, ParseError
from xdsl.utils.lexer import Span

from kpu_ir.errors import KpuError


class LocatedParser(Parser):
    """A parser whose operations carry the line and column where they began."""

    _lines: list[int] | None = None

    def parse_operation(self) -> Operation:
        """Parse one operation, and note where it stood."""
        at = self._current_token.span.start  # pyright: ignore[reportPrivateUsage]
        span = self._current_token.span  # pyright: ignore[reportPrivateUsage]
        op = super().parse_operation()
        if isinstance(op.location, UnknownLoc):
            line, column = self._place(span, at)
            op.location = FileLineColLoc(
                StringAttr(span.input.name), IntAttr(line), IntAttr(column)
            )
        return op

    def _place(self, span: Span, at: int) -> tuple[int, int]:
        from bisect import bisect_right

        if self._lines is None:
            text = span.input.content
            self._lines = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")]
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1


def parse_error(error: ParseError) -> KpuError:
    """A syntax error with its line and a caret under the place."""
    span = error.span
    text, start = span.input.content, span.start
    line = text.count("\n", 0, start) + 1
    begin = text.rfind("\n", 0, start) + 1
    end = text.find("\n", start)
    source = text[begin : end if end >= 0 else len(text)]
    column = start - begin
    width = max(1, min(span.end, begin + len(source)) - start)
    message = f"{error.msg}\n  {source}\n  {' ' * column}{'^' * width}"
    return KpuError(message, f"{span.input.name}:{line}:{column + 1}")


def verify_error(module: Operation, error: Exception) -> KpuError:
    """A verifier's message with the line of the operation that it is about."""
    return KpuError(short_message(error), place_of(failing(module)))


def short_message(error: Exception) -> str:
    """What a diagnostic says, without the module that it prints."""
    text = str(error).strip()
    if "^^^" in text or "builtin.module" in text:
        marked = [
            line.strip(" ^|-") for line in text.splitlines() if "^" in line or "Operation does not" in line
        ]
        text = "; ".join(m for m in marked if m) or text.splitlines()[-1]
    cause = error.__cause__
    return str(cause).strip() if cause is not None and str(cause) else text


def failing(module: Operation) -> Operation | None:
    """The innermost operation that does not verify by itself."""
    for op in module.walk():
        try:
            op.verify(verify_nested_ops=False)
        except Exception:
            return op
    return None


def place_of(op: Operation | None) -> str | None:
    """``file:line:column`` of an operation, if it has one."""
    if op is None:
        return None
    location = op.location
    if isinstance(location, FileLineColLoc):
        return f"{location.filename.data}:{location.line.data}:{location.column.data}"
    return op.name


def parse_module(text: str, name: str, ctx: Context) -> ModuleOp:
    """The verified module in ``text``. Raises ``KpuError`` with file, line, column and a caret."""
    try:
        module = LocatedParser(ctx, text, name).parse_module()
    except ParseError as e:
        raise parse_error(e) from None
    except DiagnosticException as e:
        raise KpuError(short_message(e), name) from None
    try:
        module.verify()
    except DiagnosticException as e:
        raise verify_error(module, e) from None
    return module


def load_module(path: str | Path, ctx: Context) -> ModuleOp:
    """The verified module in a file. Raises ``KpuError`` with file, line, column and a caret."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise KpuError(f"cannot be read: {e}", str(path)) from None
    return parse_module(text, str(path), ctx)
