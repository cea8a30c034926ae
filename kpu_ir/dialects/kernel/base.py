"""What the operations of ``kernel`` share: shapes, types, and the checks on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import (
    AnyFloat,
    DenseArrayBase,
    IndexType,
    IntegerType,
    Signedness,
    StringAttr,
    TensorType,
    i32,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation, traits_def
from xdsl.irdl.declarative_assembly_format import (
    AttributeVariable,
    CustomDirective,
    ParsingState,
    PrintingState,
    irdl_custom_directive,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.hints import isa

from kpu_ir.dialects.canonicalization import Canonicalizes
from kpu_ir.support.types import accumulator_type


def tensor_type(value: SSAValue) -> TensorType:
    """The type of a value of this dialect."""
    return SSAValue.get(value, type=TensorType).type


def scalar_type(element_type: Attribute) -> Attribute:
    """What a scalar body calls an element of this type: integers lose their sign."""
    if isa(element_type, IntegerType):
        return IntegerType(element_type.bitwidth)
    return element_type


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that NumPy would broadcast to, or None if there is none.

    >>> broadcast_shapes((4, 1, 3), (5, 3), ())
    (4, 5, 3)
    """
    rank = max(map(len, shapes), default=0)
    result: list[int] = []
    for column in zip(*((1,) * (rank - len(s)) + tuple(s) for s in shapes)):
        wide = {n for n in column if n != 1}
        if len(wide) > 1:
            return None
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as it is written in a type: ``4x8``; a scalar is ``scalar``."""
    return "x".join(map(str, shape)) or "scalar"


@irdl_custom_directive
class IntegerList(CustomDirective):
    """A property of integers, written ``[1, 0]``."""

    values: AttributeVariable

    def parse(self, parser: Parser, state: ParsingState) -> None:
        """``[1, 0]``."""
        numbers = parser.parse_comma_separated_list(Parser.Delimiter.SQUARE, parser.parse_integer)
        self.values.set(state, DenseArrayBase.from_list(i64, numbers))

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        """``[1, 0]``."""
        state.print_whitespace(printer)
        values = cast(DenseArrayBase[IntegerType], self.values.get(op)).get_values()
        printer.print_string("[" + ", ".join(map(str, values)) + "]")


@irdl_custom_directive
class Keyword(CustomDirective):
    """A property that is one of a few words, written without quotes: ``max``."""

    word: AttributeVariable

    def parse(self, parser: Parser, state: ParsingState) -> None:
        """``max``, or ``"max"``."""
        word = parser.parse_optional_str_literal()
        self.word.set(state, StringAttr(parser.parse_identifier() if word is None else word))

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        """``max``; a word that would not parse back (only a wrong one) in quotes."""
        state.print_whitespace(printer)
        word = cast(StringAttr, self.word.get(op)).data
        printer.print_string(word if word.isidentifier() else f'"{word}"')


class KernelOperation(IRDLOperation):
    """What all operations here share: operands and results are tensors of static shape."""

    traits = traits_def(Pure(), Canonicalizes())

    def verify_(self) -> None:
        """Only static tensors of numbers; then what each operation asks for."""
        for value in (*self.operands, *self.results):
            kind = value.type
            if not isa(kind, TensorType) or not kind.has_static_shape():
                raise VerifyException(
                    f"{self.name} works on tensors of static shape: "
                    f"expected tensor<4x8xf32> or the like, got {kind}"
                )
            if not isinstance(kind.element_type, AnyFloat | IntegerType | IndexType):
                raise VerifyException(
                    f"{self.name} works on floats and integers, got {kind.element_type}"
                )
        self.verify_kernel()

    def verify_kernel(self) -> None:
        """What this operation asks for beyond static tensors."""


def expect_factors(op: IRDLOperation, a: SSAValue, b: SSAValue, result: SSAValue) -> None:
    """Factors of one type; or integers of up to 16 bits, whatever their signs and widths, added up in
    i32 at least; or floats by integers of up to 8 bits or by floats of fewer bits (a wider type has all
    of a shorter one's numbers), or floats of 8 bits of two kinds, added up in floats."""
    left, right = tensor_type(a).element_type, tensor_type(b).element_type
    sums = tensor_type(result).element_type
    if left == right:
        return
    floats = [kind for kind in (left, right) if isinstance(kind, AnyFloat)]
    weights = [k for k in (left, right) if isa(k, IntegerType) and 1 < k.bitwidth <= 8]
    widths = sorted(kind.bitwidth for kind in floats)
    widened = len(floats) == 2 and (widths[0] < widths[1] or widths[1] == 8)
    if len(floats) == len(weights) == 1 or widened:
        if not isinstance(sums, AnyFloat) or sums.bitwidth < widths[-1]:
            raise VerifyException(f"{op.name}: {left} times {right} adds up in floats, got {sums}")
        return
    short = all(isa(kind, IntegerType) and 1 < kind.bitwidth <= 16 for kind in (left, right))
    if not short:
        raise VerifyException(
            f"{op.name}: expected operands of one element type, got {left} and {right}"
        )
    if not (isa(sums, IntegerType) and sums.bitwidth >= 32):
        raise VerifyException(f"{op.name}: {left} times {right} adds up in i32, got {sums}")


def expect_shape(op: IRDLOperation, expected: Sequence[int], result: SSAValue) -> None:
    """The result's shape, or an error that says both."""
    got = tensor_type(result).get_shape()
    if tuple(expected) != got:
        raise VerifyException(
            f"{op.name}: expected a result of shape {shape_text(expected)}, got {shape_text(got)}"
        )


def expect_sums(op: IRDLOperation, kind: str, source: SSAValue, result: SSAValue) -> None:
    """The result keeps the source's element type; sums and products may also leave in that of their
    accumulator, or from there in a shorter one. Bytes without a sign may leave as i32: their sums fit."""
    expected, got = tensor_type(source).element_type, tensor_type(result).element_type
    kinds = accumulator_type(expected), accumulator_type(got)
    unsigned = IntegerType(32, Signedness.UNSIGNED)
    signed = kind == "add" and kinds[0] == unsigned != expected and got == i32
    if kind not in ("add", "mul") or not (signed or kinds[0] == kinds[1]):
        expect_element_type(op, source, result)


def expect_element_type(op: IRDLOperation, source: SSAValue, result: SSAValue) -> None:
    """The result keeps the source's element type."""
    expected, got = tensor_type(source).element_type, tensor_type(result).element_type
    if expected != got:
        raise VerifyException(f"{op.name}: expected a result of element type {expected}, got {got}")
