"""``linalg-to-kernel``: a function of linalg on tensors becomes ``@main`` at the kernel level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import (
    ArrayAttr,
    BFloat16Type,
    DictionaryAttr,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    ModuleOp,
    Signedness,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.transforms.dead_code_elimination import region_dce
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.hints import isa

from kpu_ir.frontends.linalg.access import (
    Unsupported,
    attribute,
    name_of,
    static,
    structured,
)
from kpu_ir.frontends.linalg.movement import HANDLERS
from kpu_ir.frontends.linalg.named import elementwise, is_elementwise
from kpu_ir.frontends.linalg.products import contraction
from kpu_ir.frontends.linalg.quantized import quantized
from kpu_ir.frontends.linalg.recognise import Recogniser
from kpu_ir.frontends.linalg.windows import convolution, pooling
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value, name_value
from kpu_ir.frontends.raising import raise_names
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import place_of

FUNCTIONS = ("func.func", "util.func")
RETURNS = ("func.return", "util.return")
FOREIGN = ("linalg.", "tensor.", "hal.tensor.", "tm_tensor.", "iree_linalg_ext.")
"""Dialects whose operations make a function one of ours to convert."""
RESHAPING = ("tensor.cast", "tensor.concat")
"""What may forget a shape; the values of their results know it."""
KINDS = (contraction, convolution, pooling, quantized)
"""Kernels that a reduction may be, in the order in which they are tried."""
CHECKS = ("cf.assert",)
"""What only stops a program that is wrong."""


def is_linalg(module: ModuleOp) -> bool:
    """Whether a module holds a function of linalg or tensor operations."""
    return any(_foreign(op) for op in module.walk())


def _foreign(op: Operation) -> bool:
    return name_of(op).startswith(FOREIGN)


def linalg_to_kernel(module: ModuleOp) -> None:
    """Replace the function of linalg in ``module`` by ``@main`` of ``kernel`` operations.

    Raises ``KpuError`` that names every operation without a kernel, each with its place.
    """
    if not is_linalg(module):
        check_functions(module)
        return
    new = _Converter(_function(module)).run()
    for op in list(module.ops):
        op.detach()
        op.erase(safe_erase=False)
    for op in list(new.ops):
        op.detach()
        module.body.block.add_op(op)
    for name in [n for n in module.attributes if not n.startswith("kpu.")]:
        del module.attributes[name]  # what the other compiler says of its own targets


def check_functions(module: ModuleOp) -> None:
    """Refuse a module whose functions are another compiler's, and hold nothing that is a tensor."""
    theirs = [op for op in module.ops if name_of(op) in FUNCTIONS]
    foreign = [op for op in theirs if name_of(op) != "func.func"]
    if foreign and not any(_symbol(op) == "main" for op in theirs):
        names = ", ".join(f"@{_symbol(op)}" for op in theirs)
        raise KpuError(
            f"{names}: no operation on tensors says of what shape its values are",
            place_of(foreign[0]),
            HINT,
        )


def _function(module: ModuleOp) -> Operation:
    """The function to convert."""
    held = [
        op
        for op in module.ops
        if name_of(op) in FUNCTIONS and op.regions[0].blocks and any(map(_foreign, op.walk()))
    ]
    main = [op for op in held if _symbol(op) == "main"]
    if len(main or held) != 1:
        names = ", ".join(f"@{_symbol(op)}" for op in held) or "none"
        raise KpuError(
            f"expected one function of linalg, got {names}",
            place_of(held[1]) if held else None,
            "keep one function in the file, or call the one to convert @main",
        )
    return (main or held)[0]


def _symbol(op: Operation) -> str:
    name = attribute(op, "sym_name")
    return name.data if isinstance(name, StringAttr) else "?"


def _check_order(block: Block, defined: set[SSAValue]) -> None:
    """Values are defined before they are used; xDSL reads text in which they are not."""
    defined.update(block.args)
    for op in block.ops:
        for value in op.operands:
            if value not in defined:
                name = f"%{value.name_hint}" if value.name_hint else "a value"
                raise KpuError(
                    f"{name_of(op)}: uses {name} before it is defined",
                    place_of(op),
                    "put operations in the order in which they run",
                )
        for region in op.regions:
            for inner in region.blocks:
                _check_order(inner, defined)
        defined.update(op.results)


@dataclass
class _Converter:
    """One function on its way."""

    function: Operation
    graph: Graph = field(default_factory=Graph)
    values: dict[SSAValue, Value] = field(default_factory=dict[SSAValue, Value])
    wrong: list[tuple[str | None, str]] = field(default_factory=list[tuple[str | None, str]])
    """Places, and what stands there that has no kernel."""

    def run(self) -> ModuleOp:
        """The whole function, as a module of its own."""
        if len(self.function.regions[0].blocks) != 1:
            raise KpuError(
                f"@{_symbol(self.function)} has branches", place_of(self.function),
                "only straight code of tensor operations is supported",
            )  # fmt: skip
        block = self.function.regions[0].block
        _check_order(block, set())
        self.arguments(block)
        for op in block.ops:
            self.graph.location = op.location
            try:
                self.operation(op)
            except Unsupported as e:
                self.refuse(e.op or op, str(e), op)
            except KpuError as e:
                self.refuse(op, e.message, op)
            except VerifyException as e:
                self.refuse(op, str(e), op)
            except (IndexError, KeyError, TypeError, ValueError, AttributeError, AssertionError):
                # The text is not verified: an operand or a property may be missing.
                self.refuse(op, "is not as MLIR has it", op)
        if self.wrong:
            raise self.refusal()
        self.graph.location = self.function.location
        module = self.graph.module()
        for func in module.ops:
            func.location = self.function.location
            raise_names(func.regions[0])
            region_dce(func.regions[0])  # outputs that were only written, pads now in windows
        return module

    def refuse(self, at: Operation, message: str, op: Operation) -> None:
        """Note what is wrong; what depends on it is not looked at."""
        name = name_of(at)
        text = f"{name}: {message}" if not message.startswith(name) else message
        self.wrong.append((place_of(at), text if at is op else f"{text} (in {name_of(op)})"))

    def refusal(self) -> KpuError:
        """One error for all that is wrong."""
        where, first = self.wrong[0]
        if len(self.wrong) == 1:
            return KpuError(first, where, HINT)
        lines = "\n  ".join(f"{place}: {text}" for place, text in self.wrong)
        return KpuError(f"{len(self.wrong)} operations are not supported:\n  {lines}", None, HINT)

    # -- inputs and outputs -------------------------------------------------------------------------

    def arguments(self, block: Block) -> None:
        """The inputs that are tensors; those of a runtime come out of its operations."""
        attrs = attribute(self.function, "arg_attrs")
        for at, argument in enumerate(block.args):
            if not isinstance(argument.type, TensorType):
                continue
            name = _given_name(attrs, at) or argument.name_hint or f"arg{at}"
            self.input(argument, name if not name[0].isdigit() else f"arg{at}", self.function)

    def input(self, value: SSAValue, name: str, op: Operation) -> None:
        """A tensor that the caller gives."""
        try:
            kind = supported(value)
            self.graph.location = op.location
            self.values[value] = self.graph.input(name, kind.get_shape(), kind.element_type)
        except Unsupported as e:
            self.wrong.append((place_of(op), f"input '{name}': {e}"))

    def returned(self, op: Operation) -> None:
        """The results, by the names that the function gives them."""
        attrs = attribute(self.function, "res_attrs")
        for at, value in enumerate(op.operands):
            name = _given_name(attrs, at) or f"result{at}"
            if value in self.values:
                self.graph.output(name, self.values[value])
            elif not self.wrong:  # else what it depends on has been refused
                raise Unsupported(f"'{name}' is no tensor that is computed or given here")
        if not op.operands:
            raise Unsupported("returns nothing")

    # -- operations ---------------------------------------------------------------------------------

    def tensor(self, value: SSAValue) -> Value:
        """The value of a tensor. Raises ``_Unknown`` for what could not be converted."""
        if value not in self.values:
            raise _Unknown
        return self.values[value]

    def operation(self, op: Operation) -> None:
        """Write the kernels of one operation."""
        name = name_of(op)
        if name in RETURNS:
            self.returned(op)
            return
        if name in CHECKS or _is_scalar(op):
            return
        try:
            self.convert(op, name)
        except _Unknown:
            if not _known(op, name):
                raise Unsupported("there is no kernel for it") from None

    def convert(self, op: Operation, name: str) -> None:
        """Write the kernels of one operation on tensors."""
        if name == "hal.tensor.import" and op.operands[0] not in self.values:
            self.input(op.results[0], op.operands[0].name_hint or f"arg{len(self.values)}", op)
            if op.results[0] in self.values:  # it may be returned as it came
                self.values[op.operands[0]] = self.values[op.results[0]]
            return
        for result in op.results:
            if isinstance(result.type, TensorType) and name not in RESHAPING:
                supported(result)
        if name in HANDLERS:
            results: list[Value | None] = [HANDLERS[name](self, op)]
        elif is_elementwise(op):
            results = [elementwise(self, op)]
        elif name.startswith("linalg.") and (form := structured(op)) is not None:
            results = Recogniser(self.graph, form, self.tensor, KINDS).results()
        else:
            raise Unsupported("there is no kernel for it")
        for result, value in zip(op.results, results):
            if value is not None:
                expect(result, value)
                self.values[result] = value
                if result.name_hint and not value.ssa.name_hint:
                    name_value(value, result.name_hint)


class _Unknown(Exception):
    """An operand could not be converted; that has been said."""


def _known(op: Operation, name: str) -> bool:
    """Whether an operation might have been converted, had its operands been."""
    if name in HANDLERS or is_elementwise(op):
        return True
    return name.startswith("linalg.") and structured(op) is not None


def _is_scalar(op: Operation) -> bool:
    """Whether an operation gives scalars only: they are read where they are used."""
    scalars = not any(isinstance(r.type, TensorType) for r in op.results)
    return scalars and name_of(op).startswith(("arith.", "math.", "tensor.extract", "tensor.dim"))


def expect(result: SSAValue, value: Value) -> None:
    """A value must be of the type that the text says, as far as it says it."""
    if not isinstance(result.type, TensorType):
        return
    wanted = result.type.get_shape()
    same = len(wanted) == len(value.shape) and all(
        a < 0 or a == b for a, b in zip(wanted, value.shape)
    )
    if not same or value.element_type != result.type.element_type:
        raise Unsupported(f"became {value.ssa.type} instead of {result.type}")


FLOATS = (Float32Type, Float16Type, BFloat16Type, Float64Type)


def supported(value: SSAValue) -> TensorType:
    """The type of a tensor that we can hold: static, of floats, or signless integers."""
    kind = static(value)
    element: Attribute = kind.element_type
    if isa(element, IntegerType) and element.signedness.data != Signedness.SIGNLESS:
        raise Unsupported(f"{kind} has elements of {element}; linalg's are signless: i8, i32, i64")
    integer = isa(element, IntegerType) and element.bitwidth in (1, 8, 16, 32, 64)
    if not integer and not isinstance(element, FLOATS):
        raise Unsupported(f"{kind} has elements of {element}, which is not supported")
    if kind.encoding.name != "none":  # an encoding says how another compiler lays it out
        raise Unsupported(f"{kind} has an encoding, which is not supported")
    return kind


def _given_name(attrs: Attribute | None, at: int) -> str | None:
    """The name that a function's argument or result was given."""
    if not isinstance(attrs, ArrayAttr):
        return None
    items = cast("ArrayAttr[Attribute]", attrs).data
    one = items[at] if at < len(items) else None
    if isinstance(one, DictionaryAttr):
        for key in ("kernel.name", "iree.abi.name", "ml_program.identifier"):
            if isinstance(found := one.data.get(key), StringAttr):
                return found.data
    return None


HINT = "docs/linalg.md lists what is covered"


@dataclass(frozen=True)
class LinalgToKernelPass(ModulePass):
    """The function of linalg on tensors becomes ``@main`` of ``kernel`` operations.

    Before:
    ```mlir
    %7 = "linalg.fill"(%zero, %6) ... : (f32, tensor<8x4xf32>) -> tensor<8x4xf32>
    %8 = "linalg.matmul"(%x, %w, %7) ... -> tensor<8x4xf32>
    %9 = "linalg.generic"(%8, %b, %6) <{indexing_maps = [(i, j) -> (i, j), (i, j) -> (j), ...]}> ({
      ^bb0(%p: f32, %q: f32, %out: f32):
        %s = "arith.addf"(%p, %q) : (f32, f32) -> f32
        "linalg.yield"(%s) : (f32) -> ()
    }) : ... -> tensor<8x4xf32>
    ```
    After:
    ```mlir
    %8 = kernel.matmul %x, %w : (tensor<8x16xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
    %9 = kernel.map %8, %b : (tensor<8x4xf32>, tensor<1x4xf32>) -> tensor<8x4xf32> { ... }
    ```
    """

    name = "linalg-to-kernel"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert the function; a module without linalg stays as it is."""
        linalg_to_kernel(op)
