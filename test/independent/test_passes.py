"""Which operations of a scalar body are one requantization: two readings of one sentence, on drawn bodies."""

from collections import Counter

import independent_passes
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from independent_prices import CLASS_OF
from xdsl.dialects import arith, func, math
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, f32, i8, i32
from xdsl.ir import Block

from kpu_ir.scalar.double_rounding import double_rounded
from kpu_ir.scalar.requantize import priced, requantizations
from kpu_ir.scalar.tracing import Scalar, Trace

ON_INTEGERS = {"addi": arith.AddiOp, "subi": arith.SubiOp, "muli": arith.MuliOp}
ON_FLOATS = {
    "mulf": arith.MulfOp, "divf": arith.DivfOp, "addf": arith.AddfOp, "subf": arith.SubfOp,
    "maxnumf": arith.MaxnumfOp, "minimumf": arith.MinimumfOp, "maximumf": arith.MaximumfOp,
}  # fmt: skip
ALONE = {"negf": arith.NegfOp, "roundeven": math.RoundEvenOp, "exp": math.ExpOp}
IN_ORDER = ["addi", "mulf", "roundeven", "addf", "maxnumf", "minimumf", "fptosi", "trunci"]


class Body:
    """A block that grows at its end."""

    def __init__(self, draw) -> None:
        self.draw, self.block = draw, Block(arg_types=[i32, i32, f32, f32, i8])
        self.values = list(self.block.args)

    def add(self, op):
        self.block.add_op(op)
        self.values.append(op.results[0])
        return op.results[0]

    def constant(self, kind):
        number = IntegerAttr(3, kind) if kind != f32 else FloatAttr(0.5, f32)
        return self.add(arith.ConstantOp(number, kind))

    def as_kind(self, value, kind):
        if value.type == kind:
            return value
        if value.type == f32:
            value = self.add(arith.FPToSIOp(value, i32))
        if value.type == i8:
            value = self.add(arith.ExtSIOp(value, i32))
        return self.add(arith.SIToFPOp(value, f32)) if kind == f32 else value

    def other(self, kind):
        """What meets the value: a constant, something of constants, an operand, widened perhaps, anything."""
        what = self.draw(st.sampled_from(["constant", "operand", "byte", "constants", "any"]))
        own = [a for a in self.block.args if a.type == kind]
        match what:
            case "constant":
                return self.constant(kind)
            case "operand":
                return self.draw(st.sampled_from(own))
            case "byte":
                return self.as_kind(self.block.args[4], kind)
            case "constants":
                op = arith.MulfOp if kind == f32 else arith.AddiOp
                return self.add(op(self.constant(kind), self.constant(kind)))
        return self.as_kind(self.draw(st.sampled_from(self.values)), kind)

    def step(self, value, name):
        if name in ON_INTEGERS or name in ON_FLOATS:
            kind, op = (i32, ON_INTEGERS[name]) if name in ON_INTEGERS else (f32, ON_FLOATS[name])
            pair = [self.as_kind(value, kind), self.other(kind)]
            return self.add(op(*(reversed(pair) if self.draw(st.booleans()) else pair)))
        if name == "fptosi":
            return self.add(arith.FPToSIOp(self.as_kind(value, f32), i32))
        if name == "trunci":
            return self.add(arith.TruncIOp(self.as_kind(value, i32), i8))
        return self.add(ALONE[name](self.as_kind(value, f32)))


def bodies(draw):
    """Words of the sentence: with letters left out, doubled, swapped, of others between, read twice."""
    body = Body(draw)
    for _ in range(draw(st.integers(1, 2))):
        words = [w for w in IN_ORDER if draw(st.integers(0, 7))]
        for _ in range(draw(st.integers(0, 2))):
            names = [*IN_ORDER, *ON_INTEGERS, *ON_FLOATS, *ALONE]
            words.insert(draw(st.integers(0, len(words))), draw(st.sampled_from(names)))
        if len(words) > 1 and draw(st.integers(0, 3)) == 0:
            i = draw(st.integers(0, len(words) - 2))
            words[i], words[i + 1] = words[i + 1], words[i]
        value = draw(st.sampled_from(body.values if draw(st.booleans()) else body.block.args))
        for name in words:
            value = body.step(value, name)
        if draw(st.integers(0, 3)) == 0:  # something is read once more
            body.step(draw(st.sampled_from(body.values)), "mulf")
    body.block.add_op(func.ReturnOp(body.values[-1]))
    return body.block


def rounded_twice(draw):
    """Sums in integers by a factor, as they are made, and with an operation, a constant or a reader changed."""
    block = Block(arg_types=[i32, i32, i32, i32])
    trace = Trace(block)
    total, bias, multiplier, shift = (Scalar(trace, arg, i32) for arg in block.args)
    for _ in range(draw(st.integers(0, 2))):
        total = total + draw(st.sampled_from([bias, 7]))
    if draw(st.booleans()):
        multiplier, shift = (1 << 30) + 5, draw(st.sampled_from([-9, 0, 2]))
    zero, most = draw(st.sampled_from([0, 3])), draw(st.sampled_from([0, 2]))
    most = max(most, shift) if isinstance(shift, int) else most
    value = double_rounded(total, multiplier, shift, zero, (-128.0, 127.0), i8, most).value
    if draw(st.booleans()):
        ops = [op for op in block.ops if op.operands]
        op = draw(st.sampled_from(ops))
        match draw(st.sampled_from(["swap", "again", "operand", "other"])):
            case "swap" if len(op.operands) == 2:
                op.operands = [op.operands[1], op.operands[0]]
            case "again":
                value = op.results[0]
            case "operand":
                before = [o.results[0] for o in block.ops if o.is_before_in_block(op)]
                alike = [v for v in [*block.args, *before] if v.type == op.operands[0].type]
                op.operands = [draw(st.sampled_from(alike)), *op.operands[1:]]
            case "other" if len(op.operands) == 2:
                kinds = [arith.AddiOp, arith.SubiOp, arith.MaxSIOp, arith.MinSIOp, arith.ShRSIOp]
                new = draw(st.sampled_from(kinds))(*op.operands)
                block.insert_op_before(new, op)
                if value is op.results[0]:
                    value = new.results[0]
                op.results[0].replace_all_uses_with(new.results[0])
                block.erase_op(op)
            case _:
                pass
    block.add_op(func.ReturnOp(value))
    return block


def by_words(block) -> Counter:
    """Operations by class, by the reading of docs/timing.md."""
    found = independent_passes.passes(block)
    inside = {op for _, ops in found for op in ops}
    kinds = (CLASS_OF.get(op.name.partition(".")[2]) for op in block.ops if op not in inside)
    return Counter(k for k in kinds if k) + Counter(requantize=len(found))


def check(block) -> None:
    text = "\n".join(str(op) for op in block.ops)
    assert by_words(block) == priced(block, requantizations(block)), text


@drawing(60)
@given(st.data())
def test_a_pass_is_what_the_sentence_says(data):
    check(bodies(data.draw))


@drawing(40)
@given(st.data())
def test_a_pass_in_integers_is_what_the_formula_says(data):
    check(rounded_twice(data.draw))
