"""Bounds of what IR text may hold: without them some lines of it take all time or memory there is.

A number of a million digits, a thousand brackets, a type that names another twice which names
another twice: each is refused where it stands. What a model needs is far below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NoReturn, TypeVar

from xdsl.dialects.builtin import (
    AffineMapAttr,
    AffineSetAttr,
    ArrayAttr,
    BytesAttr,
    DenseIntOrFPElementsAttr,
    DictionaryAttr,
    Float80Type,
    Float128Type,
    IntegerType,
)
from xdsl.ir import Attribute, Operation, ParametrizedAttribute, TypeAttribute
from xdsl.ir.affine import AffineBinaryOpExpr, AffineExpr
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError
from xdsl.utils.lexer import Position, Span
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRToken, MLIRTokenKind

WIDEST = (1 << 24) - 1
"""Bits of an integer's type, as MLIR limits them."""
MOST = 1 << 28
"""Elements of a constant in text."""
MOST_EQUAL = 1 << 24
"""Elements of one that repeats a value."""
DIGITS = 4000
"""Digits of a number."""
LONGEST = 1 << 20
"""Characters of a string, and of a name; a constant's values may be longer."""
SHORT = 1 << 12
"""Characters of a word: the extents of a shape are one, and read again for each of them."""
DEEPEST = 64
"""Regions inside each other, brackets, and operands of expressions."""
MANY = 1 << 15
"""Attributes that one is made of, without aliases: each takes time to read."""
PARTS = 1 << 16
"""Types and attributes that one is made of, with aliases written out."""

Parsed = TypeVar("Parsed")


class BoundedLexer(MLIRLexer):
    """xDSL's, in linear time also on a string that does not end: nothing is tried twice."""

    _unescaped_characters_regex = re.compile(r'"(?:[^"\\\n\v\f]++|\\(?:["nt\\]|[0-9A-Fa-f]{2}))*+"')

    def _lex_number(self, start_pos: Position) -> MLIRToken:
        token = super()._lex_number(start_pos)
        return self._bounded(token, DIGITS, "digits")

    def _lex_string_literal(self, start_pos: Position) -> MLIRToken:
        # xDSL undoes escapes one by one to see what kind of string it is; values have none.
        text = self.input.content
        if text.find("\\", start_pos, start_pos + LONGEST) >= 0:
            found = self._unescaped_characters_regex.match(text, start_pos)
            if found is not None and found.end() - start_pos > LONGEST:
                self._refuse(start_pos, found.end() - start_pos, LONGEST, "characters")
        return super()._lex_string_literal(start_pos)

    def _form_token(self, kind: MLIRTokenKind, start_pos: Position) -> MLIRToken:
        token = super()._form_token(kind, start_pos)
        if kind in (MLIRTokenKind.STRING_LIT, MLIRTokenKind.BYTES_LIT):
            return token
        word = kind == MLIRTokenKind.BARE_IDENT
        return self._bounded(token, SHORT if word else LONGEST, "characters")

    def _bounded(self, token: MLIRToken, most: int, what: str) -> MLIRToken:
        length = token.span.end - token.span.start
        if length > most:
            self._refuse(token.span.start, length, most, what)
        return token

    def _refuse(self, at: Position, length: int, most: int, what: str) -> NoReturn:
        start = Span(at, at + 1, self.input)
        raise ParseError(start, f"{length:,} {what} are more than {most:,}")


class BoundedParser(Parser):
    """xDSL's parser within these bounds."""

    _depth = 0
    _read = 0
    """Attributes of the outermost one that is being read."""
    _aliased: dict[int, tuple[Attribute, int, int]]
    """The parts of attributes and how deep they are, by identity; they are kept alive by it."""

    def __init__(self, ctx: Any, input: str, name: str) -> None:
        """As xDSL's."""
        self._aliased = {}
        super().__init__(ctx, input, name)

    # -- depth --------------------------------------------------------------------------------------

    def _deeper(self, parse: Callable[[], Parsed]) -> Parsed:
        """What ``parse`` finds one level further in."""
        if self._depth >= DEEPEST:
            self.raise_error(f"this is nested too deeply: more than {DEEPEST} levels")
        self._depth += 1
        try:
            return parse()
        finally:
            self._depth -= 1

    def parse_operation(self) -> Operation:
        """An operation."""
        return self._deeper(super().parse_operation)

    def parse_optional_type(self) -> TypeAttribute | None:
        """A type."""
        span = self._current_token.span
        found = self._deeper(super().parse_optional_type)
        if isinstance(found, IntegerType) and found.bitwidth > WIDEST:
            self.raise_error(f"an integer has at most {WIDEST} bits", span)
        if isinstance(found, Float80Type | Float128Type):  # xDSL reads them and cannot print them
            self.raise_error(f"{found} is not supported", span)
        return self._counted(found, span)

    def parse_optional_attribute(self) -> Attribute | None:
        """An attribute."""
        span = self._current_token.span
        outermost, self._read = self._read == 0, self._read + 1
        if self._read > MANY:
            self.raise_error(f"this attribute has more than {MANY:,} parts")
        try:
            found = self._deeper(super().parse_optional_attribute)
        finally:
            self._read = 0 if outermost else self._read
        expressions: Sequence[AffineExpr] = ()
        if isinstance(found, AffineMapAttr):
            expressions = found.data.results
        elif isinstance(found, AffineSetAttr):
            expressions = [constraint.lhs for constraint in found.data.constraints]
        if any(_deep(expression) for expression in expressions):
            self.raise_error(f"an expression has at most {DEEPEST} operands in each other", span)
        return self._counted(found, span)

    def parse_optional_str_literal(self) -> str | None:
        """A string."""
        span = self._current_token.span
        if not self._values and span.end - span.start > LONGEST:
            what = f"{span.end - span.start:,} characters are more than {LONGEST:,}"
            self.raise_error(what, span.start, span.start + 1)
        return super().parse_optional_str_literal()

    # -- aliases --------------------------------------------------------------------------------

    def _counted(self, found: Parsed, span: Span) -> Parsed:
        """What was parsed, if it has few enough parts. Only aliases make more than there is text."""
        if self.attribute_aliases and isinstance(found, Attribute):
            parts, depth = self._parts(found)
            if parts > PARTS:
                self.raise_error(f"with its aliases, this has over {PARTS:,} parts", span)
            if depth > DEEPEST:
                self.raise_error(f"with its aliases, this is nested over {DEEPEST} deep", span)
        return found

    def _parts(self, attribute: Attribute) -> tuple[int, int]:
        known = self._aliased.get(id(attribute))
        if known is None:
            inside = [self._parts(one) for one in _inside(attribute)]
            parts = 1 + sum(part for part, _ in inside)
            depth = 1 + max((depth for _, depth in inside), default=0)
            known = self._aliased[id(attribute)] = attribute, parts, depth
        return known[1:]

    # -- constants ------------------------------------------------------------------------------

    _splat: Any = None
    """The type of a constant that repeats one value, while it is read as a constant of one."""

    def _parse_dense_literal_type(self) -> Any:
        """The type of a constant. xDSL makes a list of all elements of one that repeats a value:
        it gets a type of one element here."""
        span = self._current_token.span
        found = super()._parse_dense_literal_type()
        count = prod(found.get_shape())
        if count > MOST:
            self.raise_error(f"a constant has at most {MOST} elements in text", span)
        if count > MOST_EQUAL and span.start - self._begin < count:
            self.raise_error(
                f"a constant that repeats a value has at most {MOST_EQUAL} elements", span
            )
        if self._one and count > 1:
            self._splat = found
            return type(found)(found.element_type, [1])
        return found

    _values = False
    """Whether a string would be the values of a constant."""
    _one = False
    """Whether the elements are one without brackets."""
    _begin = 0
    """Where the constant begins."""

    def _parse_tensor_literal(self) -> Any:
        """The elements of a constant."""
        found = super()._parse_tensor_literal()
        self._one = not found[1] and len(found[0]) == 1
        return found

    def parse_dense_int_or_fp_elements_attr(self, type: Any) -> DenseIntOrFPElementsAttr:
        """A constant."""
        self._one, self._splat, self._begin = False, None, self.pos
        self._values = True
        try:
            found = super().parse_dense_int_or_fp_elements_attr(type)
        finally:
            self._values = False
        whole, self._splat = self._splat, None
        if whole is None:
            return found
        return DenseIntOrFPElementsAttr(
            whole, BytesAttr(bytes(found.data.data) * prod(whole.get_shape()))
        )


def _deep(expression: AffineExpr) -> bool:
    """Whether operands stand too deep in each other to be printed."""
    waiting = [(expression, 1)]
    while waiting:
        one, depth = waiting.pop()
        if depth > DEEPEST:
            return True
        if isinstance(one, AffineBinaryOpExpr):
            waiting += (one.lhs, depth + 1), (one.rhs, depth + 1)
    return False


def _inside(attribute: Attribute) -> Iterable[Attribute]:
    """The attributes that one is made of."""
    match attribute:
        case ParametrizedAttribute():
            return attribute.parameters
        case ArrayAttr():
            return attribute.data
        case DictionaryAttr():
            return attribute.data.values()
        case _:
            return ()
