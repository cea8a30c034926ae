"""Which operations of a scalar body are one pass of a unit that requantizes: docs/timing.md's sentence
(``vector.initiation_interval.requantize``) and docs/quantization.md's formula, read as words.

A value is followed to where it came from, as long as nobody else reads it, and each operation on the way is a
letter. A pass is the longest word that the sentence allows:

    [bias of integers, conversion,] [scale,] round to even, [zero point, clamp,] conversion [and narrowing]
    (b?c)?                          [s/]?    r              z?          (<>)?    k          n?

Nothing here imports ``kpu_ir.scalar``.
"""

from __future__ import annotations

import re

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

LETTERS = {
    "arith.addi": "b", "arith.sitofp": "c", "arith.mulf": "s", "arith.divf": "/", "math.roundeven": "r",
    "arith.addf": "z", "arith.maximumf": "<", "arith.maxnumf": "<", "arith.minimumf": ">", "arith.minnumf": ">",
    "arith.fptosi": "k", "arith.fptoui": "k", "arith.trunci": "n",
}  # fmt: skip
"""What an operation may be in a pass: a clamp is a lower end and an upper one."""

SENTENCE = re.compile(r"(b?c)?[s/]?rz?(<>|><|<|>)?kn?$")


def from_constants(value: SSAValue) -> bool:
    """Whether nothing but constants makes it."""
    op = value.owner
    return isinstance(op, Operation) and (
        isinstance(op, arith.ConstantOp)
        or (len(op.operands) > 0 and all(from_constants(v) for v in op.operands))
    )


WIDER = ("arith.sitofp", "arith.uitofp", "arith.extsi", "arith.extui")


def given(value: SSAValue) -> bool:
    """A constant, or an operand of the body, of integers perhaps, which the pass reads as it needs them."""
    if isinstance(value.owner, Operation) and value.owner.name in WIDER:
        return given(value.owner.operands[0])
    return isinstance(value.owner, Block) or from_constants(value)


def main(op: Operation, letter: str) -> SSAValue | None:
    """The value that a pass takes from operation to operation; what meets it on the way has to be given."""
    if letter in "crkn":
        return op.operands[0]
    allowed = from_constants if letter in "<>" else given
    orders = (op.operands,) if letter == "/" else (op.operands, reversed(op.operands))
    return next((v for v, met in orders if allowed(met) and not from_constants(v)), None)


def only_reader(value: SSAValue) -> bool:
    return len({use.operation for use in value.uses}) == 1


def word(end: Operation) -> list[tuple[str, Operation]]:
    """The letters that lead to an operation, its own the last."""
    letters, op = [], end
    while isinstance(op, Operation) and (letter := LETTERS.get(op.name)):
        source = main(op, letter)
        if source is None or (op is not end and not only_reader(op.results[0])):
            break
        letters.insert(0, (letter, op))
        op = source.owner
    return letters


def passes(block: Block) -> list[tuple[Operation, set[Operation]]]:
    """For each pass the operation that ends it, and all of its operations, what is computed from constants
    for it among them."""
    found, taken = [], set()
    for end in reversed(list(block.ops)):
        if end in taken or any(from_constants(v) for v in end.results):
            continue
        ops = twice_rounded(end)
        if ops is None:
            letters = word(end)
            match = SENTENCE.search("".join(letter for letter, _ in letters))
            ops = {op for _, op in letters[match.start() :]} if match else None
        if ops:
            ops = with_constants(block, ops)
            found.append((end, ops))
            taken |= ops
    return found


def with_constants(block: Block, ops: set[Operation]) -> set[Operation]:
    """And what is computed from constants for them, and for nobody else; what widens operands likewise."""
    ops = set(ops)
    for op in reversed(list(block.ops)):  # readers stand behind what they read
        made = any(from_constants(v) or op.name in WIDER for v in op.results)
        readers = {use.operation for v in op.results for use in v.uses}
        if made and readers and readers <= ops:
            ops.add(op)
    return ops


# -- in integers, rounded twice -------------------------------------------------------------------


def number(value: SSAValue) -> int | None:
    attr = value.owner.value if isinstance(value.owner, arith.ConstantOp) else None
    return attr.value.data if isinstance(attr, IntegerAttr | FloatAttr) else None


class No(Exception):
    """Not the formula."""


class Twice:
    """Takes ``h = (2^l x M + 2^30) >> 31``, then ``h / 2^e`` half away from zero, zero point, clamp,
    narrowing apart, from its end; ``ops`` are the operations that it met."""

    def __init__(self, end: Operation) -> None:
        self.end, self.ops = end, set()

    def named(self, value: SSAValue, name: str) -> Operation:
        op = value.owner
        if not isinstance(op, Operation) or op.name != f"arith.{name}":
            raise No
        self.ops.add(op)
        return op

    def two(self, value: SSAValue, name: str, known) -> tuple[SSAValue, SSAValue]:
        """Both operands of an operation that commutes, the one that ``known`` knows the second."""
        op = self.named(value, name)
        for a, b in (op.operands, reversed(op.operands)):
            if known(b):
                return a, b
        raise No

    def read(self) -> set[Operation]:
        self.ops.add(self.end)
        value = self.end.operands[0]
        ends = ["maxsi", "minsi"]
        for _ in range(2):
            if (name := value.owner.name[6:]) in ends:
                value = self.two(value, name, from_constants)[0]
                ends.remove(name)
        if value.owner.name == "arith.addi" and any(
            from_constants(v) for v in value.owner.operands
        ):
            value = self.two(value, "addi", from_constants)[0]
        value = self.shifted(value)
        shift = self.named(value, "shrsi")
        if number(shift.operands[1]) != 31:
            raise No
        product = self.two(shift.operands[0], "addi", lambda v: number(v) == 1 << 30)[0]
        x = self.two(product, "muli", self.operand)[0]
        if x.owner.name == "arith.shli":
            shift = self.named(x, "shli")
            if not self.operand(shift.operands[1]):
                raise No
            x = shift.operands[0]
        x = self.named(x, "extsi").operands[0]
        inside = set(self.ops)
        for op in inside - {self.end}:
            self.apart(op)
        if isinstance(x.owner, Operation) and x.owner.name == "arith.addi" and only_reader(x):
            a, b = x.owner.operands
            if given(a) or given(b):
                self.ops.add(x.owner)
        return self.ops

    def shifted(self, value: SSAValue) -> SSAValue:
        """``(h + half + max(h >> 63, -half)) >> e``; h itself where e is 0."""
        shift = value.owner
        if number(shift.operands[1]) == 31 and shift.name == "arith.shrsi":
            return value  # nothing is divided
        shift = self.named(value, "shrsi")
        if not self.operand(shift.operands[1]):
            raise No

        def below(v: SSAValue) -> bool:
            return (
                isinstance(v.owner, Operation)
                and v.owner.name == "arith.maxsi"
                and not self.operand(v)
            )

        total, down = self.two(shift.operands[0], "addi", below)
        sign = self.two(down, "maxsi", self.operand)[0]
        high = self.two(total, "addi", self.operand)[0]
        signs = self.named(sign, "shrsi")
        if number(signs.operands[1]) != 63 or signs.operands[0] is not high:
            raise No
        return high

    def operand(self, value: SSAValue) -> bool:
        """The multiplier or the shift: given, widened, or made of these and constants alone; what it takes
        to decode them is the unit's."""
        if given(value):
            return True
        op, allowed = value.owner, ("extsi", "subi", "maxsi", "shli", "shrsi")
        if op.name[6:] not in allowed or not all(self.operand(v) for v in op.operands):
            return False
        self.ops.add(op)
        return True

    def apart(self, op: Operation) -> None:
        if not {use.operation for use in op.results[0].uses} <= self.ops:
            raise No


def twice_rounded(end: Operation) -> set[Operation] | None:
    if end.name != "arith.trunci" or end.operands[0].type.bitwidth != 64:
        return None
    try:
        return Twice(end).read()
    except (No, AttributeError, IndexError):  # an operand or a constant has nothing behind it
        return None
