"""``kernel-to-tile``: each kernel's function becomes a nest of loops over tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import (
    DenseArrayBase,
    FunctionType,
    MemRefType,
    ModuleOp,
    StringAttr,
    i64,
)
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import kernel, tile
from kpu_ir.lowering.kernel_to_tile.contraction import Contraction
from kpu_ir.lowering.kernel_to_tile.strategies import (
    TilingStrategy,
    check_honoured,
    layouts_of,
    memref,
    memref_of,
    recognise,
    schedule_of,
    tensors_of,
    tiled,
)
from kpu_ir.lowering.kernel_to_tile.weights import packed_weights
from kpu_ir.lowering.schedule import (
    ATTRIBUTE,
    FIELDS,
    L3_BYTES,
    Schedule,
    hand_down,
    pinned_of,
    refuse_schedule,
)
from kpu_ir.lowering.shapes import Shape
from kpu_ir.machine.attr import machine_of
from kpu_ir.nest.ir import PANELS, write_function
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import at_call, place_of


def lower_kernel(func: FuncOp, strategy: TilingStrategy, schedule: Schedule) -> FuncOp:
    """The ``tile`` function of a kernel: memrefs in, memrefs out, no results."""
    nest = tiled(func, strategy, tensors_of(func, strategy), schedule)
    lowered = write_function(nest, tile, StringAttr("private"))
    lowered.location = func.location
    hand_down(schedule, lowered)
    panels = [n for t in nest.tensors if t.panel for n in (t.position, t.panel)]
    if panels:
        lowered.attributes[PANELS] = DenseArrayBase.from_list(i64, panels)
    if L3_BYTES in func.attributes:
        lowered.attributes[L3_BYTES] = func.attributes[L3_BYTES]
    return lowered


@dataclass
class MainLowering:
    """``@main`` from values to buffers."""

    strategies: dict[str, TilingStrategy]
    pinned: dict[str, tuple[int, ...]]
    layouts: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    """Of a kernel, the width of the panels in which an argument is stored."""
    memory: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    packed: dict[tuple[SSAValue, int], tile.ConstantOp] = field(
        default_factory=dict[tuple[SSAValue, int], tile.ConstantOp]
    )

    def seen_as(self, build: Builder, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """The buffer of ``value`` in another shape."""
        type = value.type
        assert isinstance(type, MemRefType)
        if tuple(type.get_shape()) == tuple(shape):
            return value
        seen = memref(shape, type.element_type, tile.is_pinned(type))
        return build.insert(tile.ViewOp(value, seen)).result

    def panels(self, build: Builder, value: SSAValue, shape: Shape, width: int) -> SSAValue:
        """Weights in panels of that width, in the place of what only kernels read that want them so."""
        constant = value.owner
        if not isinstance(constant, kernel.ConstantOp):
            raise KpuError(
                f"{ATTRIBUTE}: layout = 'packed' is for constants",
                place_of(constant) if isinstance(constant, Operation) else None,
                "leave the layout out",
            )
        packed = self.packed.get((value, width))
        if packed is None:
            packed = build.insert(tile.ConstantOp(packed_weights(constant.value, shape, width)))
            packed.result.name_hint = value.name_hint
            self.packed[value, width] = packed
        return packed.result

    def drop_unread(self) -> None:
        """Weights that are read packed only are not there as they were."""
        for value in dict.fromkeys(value for value, _ in self.packed):
            plain = self.memory[value]
            if not plain.uses:
                assert isinstance(plain.owner, tile.ConstantOp)
                plain.owner.detach()
                plain.owner.erase()

    def lower(self, func: FuncOp) -> FuncOp:
        """The new ``@main``."""
        old = func.body.block
        block = Block(arg_types=[memref_of(a.type) for a in old.args])
        build = Builder(InsertPoint.at_end(block))
        for before, after in zip(old.args, block.args):
            self.memory[before] = after
            after.name_hint = before.name_hint
        for op in old.ops:
            match op:
                case kernel.ConstantOp():
                    constant = build.insert(tile.ConstantOp(op.value))
                    self.memory[op.result] = constant.result
                    constant.result.name_hint = op.result.name_hint
                case kernel.ReshapeOp():
                    shape = op.result.type.get_shape()
                    self.memory[op.result] = self.seen_as(build, self.memory[op.source], shape)
                case CallOp():
                    self.call(build, op)
                case ReturnOp():
                    build.insert(ReturnOp(*(self.memory[v] for v in op.operands)))
                case _:
                    raise KpuError(
                        f"{op.name} stands in @main", place_of(op), "run kernel-outline first"
                    )
        self.drop_unread()
        results = [self.memory[v].type for v in old.last_op.operands] if old.last_op else []
        lowered = FuncOp(
            "main",
            FunctionType.from_lists([a.type for a in block.args], results),
            Region(block),
            arg_attrs=func.arg_attrs,
            res_attrs=func.res_attrs,
        )
        lowered.location = func.location
        return lowered

    def call(self, build: Builder, op: CallOp) -> None:
        """A call in destination-passing style."""
        name = op.callee.root_reference.data
        strategy = self.strategies[name]
        layouts = self.layouts.get(name, {})
        arguments = [
            self.panels(build, value, shape, layouts[n])
            if n in layouts
            else self.seen_as(build, self.memory[value], shape)
            for n, (value, (shape, _)) in enumerate(zip(op.arguments, strategy.arguments))
        ]
        pinned = self.pinned[name]
        for i, (result, (shape, _)) in enumerate(
            zip(op.results, strategy.results), len(strategy.arguments)
        ):
            buffer = build.insert(tile.BufferOp(memref_of(result.type, i in pinned)))
            buffer.result.name_hint = result.name_hint
            self.memory[result] = buffer.result
            arguments.append(self.seen_as(build, buffer.result, shape))
        call = build.insert(CallOp(name, arguments, []))
        call.location = op.location
        call.attributes.update(op.attributes)


def lower_module(module: ModuleOp, choose: Callable[[FuncOp, TilingStrategy], Schedule]) -> None:
    """Lower every kernel with the schedule that ``choose`` gives it, and ``@main``."""
    funcs = [op for op in module.ops if isinstance(op, FuncOp)]
    for func in funcs:
        if func.sym_name.data == "main":
            refuse_schedule(func, "@main has none", "give it to a kernel's function")
    kernels = [f for f in funcs if f.sym_name.data != "main"]
    strategies: dict[str, TilingStrategy] = {}
    for func in kernels:
        with at_call(func):
            strategies[func.sym_name.data] = recognise(func)
    pinned = {f.sym_name.data: pinned_of(f) for f in kernels}
    layouts: dict[str, dict[int, int]] = {}
    tiled: dict[str, FuncOp] = {}
    for func in kernels:
        name = func.sym_name.data
        with at_call(func):
            schedule = choose(func, strategies[name])
            tiled[name] = lower_kernel(func, strategies[name], schedule)
            layouts[name] = layouts_of(strategies[name], schedule, f"@{name}")
    lowered = [
        MainLowering(strategies, pinned, layouts).lower(func)
        if func.sym_name.data == "main"
        else tiled[func.sym_name.data]
        for func in funcs
    ]
    build = Builder(InsertPoint.at_end(module.body.block))
    for func, new in zip(funcs, lowered):
        func.detach()
        build.insert(new)
    for func in funcs:
        func.erase(safe_erase=False)


@dataclass(frozen=True)
class KernelToTilePass(ModulePass):
    """Cut every kernel into tiles, by its ``kpu.schedule`` or by default.

    Before:
    ```mlir
    func.func private @matmul_0(%a: tensor<128x64xf32>, %b: tensor<64x96xf32>) -> tensor<128x96xf32> {
      %c = kernel.matmul %a, %b : (tensor<128x64xf32>, tensor<64x96xf32>) -> tensor<128x96xf32>
      func.return %c : tensor<128x96xf32>
    }
    ```
    After:
    ```mlir
    func.func private @matmul_0(%a: memref<128x64xf32>, %b: memref<64x96xf32>, %c: memref<128x96xf32>) {
      tile.for %m = 0 to 128 step 32 {
        %lhs = tile.load %a[%m, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l2>
        tile.for %n = 0 to 96 step 48 {
          %rhs = tile.load %b[0, %n] : memref<64x96xf32> -> !tile.tile<64x48xf32, l2>
          %acc = tile.alloc : !tile.tile<32x48xf32, l2>
          tile.matmul output_stationary %lhs, %rhs into %acc : ...
          tile.store %acc, %c[%m, %n] : !tile.tile<32x48xf32, l2> -> memref<128x96xf32>
        }
      }
      func.return
    }
    ```
    The options are the fields of a schedule. Where given, they hold for every product of the module.
    """

    name = "kernel-to-tile"
    tile: tuple[int, ...] | None = None
    """Extents m, n and k of the tiles in L2."""
    dataflow: Literal["os", "ws", "is"] | None = None
    """What stays in the array: outputs, weights or inputs."""
    order: Literal["mn", "nm"] | None = None
    """The loops from outside."""
    lhs: Literal["l3", "l2"] | None = None
    """Where the left operand stays while the loop that it does not depend on runs."""
    rhs: Literal["l3", "l2"] | None = None
    """The same of the right operand."""
    depth: int | None = None
    """Slots of a ring in L2."""
    l3_depth: int | None = None
    """Slots of a ring in L3."""
    out_depth: int | None = None
    """Slots of a result's rings."""
    defer: int | None = None
    """Steps by which results are deferred."""
    unroll_n: int | None = None
    """Accumulator tiles, unrolled along n."""
    passes: Literal["online"] | None = None
    """How rows are read that a tile does not hold."""
    layout: Literal["transposed", "packed"] | None = None
    """How a tile stands on chip."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Lower the module."""
        machine = machine_of(op)
        given = {name: v for name in FIELDS if (v := getattr(self, name)) is not None}

        def choose(func: FuncOp, strategy: TilingStrategy) -> Schedule:
            usual = schedule_of(func, strategy, machine)
            if not (isinstance(strategy, Contraction) and given):
                return usual
            where = f"@{func.sym_name.data}"
            asked = replace(Schedule(), **given)
            asked.check(where)
            check_honoured(asked, strategy, lambda: usual, where)
            return replace(usual, **given)

        lower_module(op, choose)
