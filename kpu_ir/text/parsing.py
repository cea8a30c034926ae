"""Reading IR text, with places: each operation knows its line, each error shows it."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xdsl.context import Context
from xdsl.dialect_interfaces.op_asm import OpAsmDialectInterface
from xdsl.dialects.builtin import (
    AnyFloat,
    ComplexType,
    FileLineColLoc,
    IndexType,
    IntAttr,
    IntegerType,
    ModuleOp,
    StringAttr,
    UnknownLoc,
    UnregisteredOp,
)
from xdsl.ir import Attribute, Block, Operation, TypeAttribute
from xdsl.irdl import IRDLOperation
from xdsl.parser import AttrParser
from xdsl.parser.generic_parser import ParserState
from xdsl.utils.exceptions import DiagnosticException, MultipleSpansParseError, ParseError
from xdsl.utils.lexer import Input, Span
from xdsl.utils.mlir_lexer import MLIRTokenKind

from kpu_ir.support.errors import KpuError, within_limits
from kpu_ir.support.files import read_input, read_text
from kpu_ir.text.bounds import BoundedLexer, BoundedParser
from kpu_ir.text.places import caret, place_of
from kpu_ir.text.printing import ELIDED

FOREIGN = re.compile(r'"(linalg|tensor|tm_tensor|iree_linalg_ext|hal|util)\.')
"""Another compiler's text in generic form: what xDSL does not know in it is kept as it stands."""
OURS = ("kernel.", "tile.", "dma.")
THEIRS = ("linalg.", "tensor.")
"""Operations of another compiler that the front end reads by name: xDSL's own of these verify what MLIR
asked for some time ago."""
SCALAR = ("arith.", "math.")
"""Operations of which xDSL knows fewer properties than other compilers print; those are flags."""

STUMBLES = (
    ValueError, ArithmeticError, NotImplementedError, RecursionError, LookupError, TypeError,
    AttributeError, AssertionError,
)  # fmt: skip
"""What xDSL's parser raises where it does not say what is wrong: a block called ``^4``, elements of
``i4096``, an expression of a thousand brackets."""


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


class _Element(AttrParser._TensorLiteralElement):  # pyright: ignore[reportPrivateUsage]
    """An element of ``dense<...>``. ``0xFF800000`` in one of floats is bits: -inf, not a number."""

    def to_type(
        self, parser: AttrParser, type: AnyFloat | IntegerType | IndexType | ComplexType
    ) -> Any:
        """The element in the type that turned out to follow."""
        if isinstance(type, AnyFloat) and self.span.text[:2].lower() == "0x":
            bits = int(self.span.text, 16)
            if bits.bit_length() > type.bitwidth:
                parser.raise_error(f"{self.span.text} has more bits than {type}", self.span)
            return type.unpack(bits.to_bytes(type.size, "little"), 1)[0]
        return super().to_type(parser, type)


class LocatedParser(BoundedParser):
    """A parser whose operations carry the line and column where they began.

    ``dense_resource<elided>``, which stands for values that were not printed, keeps its name.
    """

    _TensorLiteralElement = _Element

    located = True
    """Whether operations get places: not where the text is one that no person has seen."""

    refused: Span | None = None
    """Where the innermost type, attribute or operation begins whose verifier stopped the parser."""

    def __init__(
        self, ctx: Context, input: str | bytes, name: str = "<unknown>", line_offset: int = 0
    ) -> None:
        """``line_offset``: lines of the file before ``input``, when it is a piece of one."""
        text = input.decode("utf-8") if isinstance(input, bytes) else input
        self._foreign = FOREIGN.search(text) is not None
        if self._foreign:
            ctx = ctx.clone()
            ctx.allow_unregistered = True
        super().__init__(ctx, "", name)  # which would read the first token with xDSL's lexer
        self._parser_state = ParserState(BoundedLexer(Input(text, name)))
        self.dialect_resources.add(("builtin", ELIDED))
        self._blobs: dict[tuple[str, str], str] = {}
        self._of: type[Operation] | None = None
        self._theirs: dict[str, type[Operation]] = {}
        self._name = StringAttr(name.encode(errors="backslashreplace").decode())  # any file's name
        self._line_offset = line_offset
        self._line_starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def parse_module(self, allow_implicit_module: bool = True) -> ModuleOp:
        """The module; an empty one where there is nothing but comments."""
        if allow_implicit_module and self._current_token.kind == MLIRTokenKind.EOF:
            return ModuleOp([])
        return super().parse_module(allow_implicit_module)

    def parse_operation(self) -> Operation:
        """Parse one operation, and note where it stood."""
        span = self._current_token.span
        try:
            op = super().parse_operation()
        except DiagnosticException:
            self.refused = self.refused or span
            raise
        at = span.start
        if self.located and isinstance(op.location, UnknownLoc):
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

    def stumble(self, error: Exception) -> KpuError:
        """What xDSL's parser fell over, with the place that it had come to."""
        span = replace(self._current_token.span, line_offset=self._line_offset)
        if isinstance(error, RecursionError):
            return parse_error(ParseError(span, "this is nested too deeply"))
        said = isinstance(error, ValueError | NotImplementedError) and str(error)
        return parse_error(ParseError(span, said or "this cannot be read"))

    def _parse_dialect_resource_handle(
        self, dialect_name: str, interface: OpAsmDialectInterface
    ) -> str:
        """The name of a blob. xDSL keeps blobs for the whole process: each file has its own."""
        key = self.parse_identifier(" for resource handle")
        if (dialect_name, key) in self.dialect_resources:
            return key
        if (dialect_name, key) not in self._blobs:
            self._blobs[dialect_name, key] = interface.declare_resource(key)
        return self._blobs[dialect_name, key]

    def _parse_resource(self, dialect_name: str, interface: OpAsmDialectInterface) -> None:
        """One blob behind the module; those that nothing names are passed over."""
        key = self.parse_optional_str_literal() or self.parse_identifier(" for resource handle")
        self.parse_punctuation(":")
        self._values = True
        value = self.parse_str_literal()
        self._values = False
        if (dialect_name, key) in self._blobs:
            interface.parse_resource(self._blobs[dialect_name, key], value)

    def _parse_generic_operation(self, op_type: type[Operation]) -> Operation:
        """An operation in generic form, of whose properties those are kept that are known."""
        self._of = op_type
        return super()._parse_generic_operation(op_type)

    def parse_optional_properties_dict(self) -> dict[str, Attribute]:
        """Properties; another compiler's scalar operations may have more than xDSL knows."""
        found, kind = super().parse_optional_properties_dict(), self._of
        if not self._foreign or kind is None or not issubclass(kind, IRDLOperation):
            return found
        if not kind.name.startswith(SCALAR):
            return found
        known = kind.get_irdl_definition().properties
        return {name: value for name, value in found.items() if name in known}

    def _get_op_by_name(self, name: str) -> type[Operation]:
        """The operation's class. Its error stands at the name, and knows a better one."""
        text = self.lexer.input.content
        start = text.rfind(name, 0, self._current_token.span.start)
        allowed = self.ctx.allow_unregistered
        if self._foreign and text[start - 1 : start] == '"' and name.startswith(THEIRS):
            if name not in self._theirs:
                self._theirs[name] = UnregisteredOp.with_name(name)
            return self._theirs[name]
        if self._foreign and (text[start - 1 : start] != '"' or name.startswith(OURS)):
            self.ctx.allow_unregistered = False
        try:
            return super()._get_op_by_name(name)
        except ParseError as e:
            dialect = self.ctx.get_optional_dialect(name.partition(".")[0])
            known = [op.name for op in dialect.operations] if dialect else []
            near = difflib.get_close_matches(name, known, 1)
            guess = f"; did you mean {near[0]}?" if near else ""
            if name.startswith(("linalg.", "tensor.")):
                guess = "; linalg is read in generic form: print it with --mlir-print-op-generic"
            self.raise_error(e.msg + guess, start, start + len(name))
        finally:
            self.ctx.allow_unregistered = allowed


def parse_error(error: ParseError) -> KpuError:
    """A syntax error with its place, the source line and a caret."""
    message = [error.msg, _marked(error.span)]
    if isinstance(error, MultipleSpansParseError):
        for span, text in error.refs:
            message.append(f"  {span.get_location()}: {text or error.ref_text or 'see here'}")
            message.append(_marked(span))
    return KpuError("\n".join(message), str(error.span.get_location()))


def _marked(span: Span[str] | Span[bytes]) -> str:
    """The line of a span with its characters marked."""
    begin = span.input.get_start_of_line(span.start)
    end = span.input.get_end_of_line(span.start)
    line = span.input.content[begin:end]
    line = line.decode(errors="replace") if isinstance(line, bytes) else line
    return caret(line, span.start - begin + 1, min(span.end, end) - span.start)


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
            message = f"{message}\n{caret(line, column)}"
    return KpuError(message, place_of(op))


def failing(module: Operation) -> Operation | None:
    """The innermost operation that does not verify by itself."""
    for op in module.walk():
        try:
            op.verify(verify_nested_ops=False)
        except Exception:
            return op
    return None


def early_use(module: Operation) -> tuple[Operation, str] | None:
    """An operation that uses a value before the one that makes it, or one of a region that it is not
    in, which xDSL does not refuse, and what to say of it."""
    made: set[Operation] = set()
    for op in module.walk():
        for value in op.operands:
            maker = value.owner
            # Blocks that jump to each other have no order of their text; ours never do.
            if isinstance(maker, Operation) and maker not in made and not _jumps(maker):
                return op, f"{_name(op)}: uses %{value.name_hint or '?'} before it is defined"
            if not _within(op, maker):
                return (
                    op,
                    f"{_name(op)}: uses %{value.name_hint or '?'}, which is defined elsewhere",
                )
        made.add(op)
    return None


def _name(op: Operation) -> str:
    return op.op_name.data if isinstance(op, UnregisteredOp) else op.name


def _within(op: Operation, maker: Operation | Block) -> bool:
    """Whether ``op`` stands in the region where a value is made, or in one inside it."""
    home = maker.parent if isinstance(maker, Block) else maker.parent_region()
    around = op.parent_region()
    while around is not None and around is not home:
        outer = around.parent
        around = outer.parent_region() if outer is not None else None
    return around is home


def _jumps(op: Operation) -> bool:
    region = op.parent_region()
    return region is not None and len(region.blocks) > 1


def parse_module(text: str, name: str, ctx: Context) -> ModuleOp:
    """The verified module in ``text``. Raises ``KpuError`` with file, line, column and a caret."""
    try:
        parser = LocatedParser(ctx, text, name)  # reads the first token
    except ParseError as e:
        raise parse_error(e) from None
    try:
        module = parser.parse_module()
    except ParseError as e:
        raise parse_error(e) from None
    except DiagnosticException as e:
        raise parser.refusal(e) from None
    except STUMBLES as e:
        raise parser.stumble(e) from None
    with within_limits(name):
        try:
            module.verify()
        except (DiagnosticException, LookupError, ValueError) as e:  # xDSL's of linalg stumble
            raise verify_error(module, e, Source(text, name)) from None
        early = early_use(module)
    if early is not None:
        raise error_at(*early, Source(text, name))
    return module


def load_module(path: str | Path, ctx: Context) -> ModuleOp:
    """The verified module in a file, or of standard input (``-``). Raises ``KpuError`` with file,
    line, column and a caret."""
    name = "stdin" if str(path) == "-" else str(path)
    module = parse_module(read_input() if name == "stdin" else read_text(path), name, ctx)
    if module.body.block.is_empty:
        raise KpuError("it holds no operation", f"{name}:1:1")
    return module
