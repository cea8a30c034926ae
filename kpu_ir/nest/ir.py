"""Functions as IR, at the ``tile`` and the ``dma`` level: read into records, written from them."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TypeVar

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    DenseArrayBase,
    FloatAttr,
    FunctionType,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import dma, tile
from kpu_ir.dialects.tile import (
    Level,
    TileType,
    Window,
    WindowAttr,
    compute,
    integers,
    permutation_of,
)
from kpu_ir.nest import records
from kpu_ir.nest.records import Affine, Function, Index, Ring, Shape, Tensor, Tile, constant
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import known, place_of

V = TypeVar("V", Index, Tensor, Tile)


def read_tile(func: FuncOp) -> Function:
    """The records of a ``tile`` function. Raises ``KpuError`` for what does not belong in one."""
    return _Reader(func, "tile.", "{} does not belong in a kernel").function


def read_dma(func: FuncOp) -> Function:
    """The records of a ``dma`` function, likewise."""
    return _Reader(func, "dma.", "this operation does not belong at the dma level").function


class _Reader:
    """Reads one function; ``values`` are what its values stand for."""

    def __init__(self, func: FuncOp, prefix: str, foreign: str) -> None:
        self.function = Function(func.sym_name.data, known(func.location, func.name))
        self.prefix, self.foreign = prefix, foreign
        self.values: dict[SSAValue, Index | Tensor | Tile] = {}
        self.rings: dict[str, Ring] = {}
        for position, arg in enumerate(func.body.block.args):
            type = SSAValue.get(arg, type=MemRefType).type
            panel = panels_of(func).get(position, 0)
            self.values[arg] = Tensor(position, type, arg.name_hint, panel)
            self.function.tensors.append(self.get(Tensor, arg))
        self.block(func.body.block)

    def program(self, op: dma.ProgramOp) -> None:
        """A kernel's rings, then what it does."""
        if self.rings:
            raise KpuError("a kernel has one dma.program", place_of(op))
        for one in op.body.block.ops:
            if isinstance(one, dma.RingOp):
                self.ring(one)
        self.block(op.body.block)

    def ring(self, op: dma.RingOp) -> None:
        """A declaration."""
        name, t, depth, at = op.sym_name.data, op.type, op.depth.value.data, op.address.value.data
        level = str(t.level.data.value)
        self.rings[name] = Ring(name, t.get_shape(), t.element_type, level, depth, at, op=op)
        self.function.rings.append(self.rings[name])

    def get(self, kind: type[V], value: SSAValue) -> V:
        """What a value stands for."""
        found = self.values[value]
        assert isinstance(found, kind)
        return found

    def all(self, kind: type[V], values: Sequence[SSAValue]) -> list[V]:
        """What values stand for."""
        return [self.get(kind, v) for v in values]

    def maybe(self, kind: type[V], value: SSAValue | None) -> V | None:
        """What an operand stands for that may be absent."""
        return None if value is None else self.get(kind, value)

    def indices(self, indices: Sequence[int | SSAValue]) -> list[int | Index]:
        """Offsets."""
        return [i if isinstance(i, int) else self.get(Index, i) for i in indices]

    def tensor(self, op: Operation, value: SSAValue) -> Tensor:
        """A parameter."""
        if not isinstance(value, BlockArgument):
            message = "a kernel reaches external memory only by its parameters"
            raise KpuError(message, place_of(op))
        return self.get(Tensor, value)

    def made(self, result: SSAValue, room: bool) -> Tile:
        """The tile that an operation makes; at the ``dma`` level in its ring."""
        type, op = SSAValue.get(result, type=TileType).type, result.owner
        found = Tile(result.name_hint, type.get_shape(), type.element_type, type.level.data, room)
        if isinstance(op, dma.FetchOp | dma.MoveOp | dma.AcquireOp):
            name = op.ring.root_reference.data
            if name not in self.rings:
                raise KpuError(f"there is no dma.ring @{name}", place_of(op))
            self.function.slot(found, self.rings[name])
        self.values[result] = found
        return found

    def block(self, block: Block) -> None:
        """The operations of a block."""
        f = self.function
        for op in block.ops:
            if isinstance(op, tile.ForOp):
                loop = f.enter(op.bounds, op.induction_var.name_hint)
                loop.location = op.location
                self.values[op.induction_var] = loop.index
                self.block(op.body.block)
                f.leave()
            elif op.name.startswith("arith."):
                index = index_of(op, self.all(Index, op.operands))
                self.values[op.results[0]] = index
                f.here[-1].append(index)
            elif isinstance(op, dma.ProgramOp) and op.name.startswith(self.prefix):
                self.program(op)
            elif op.name.startswith(self.prefix) and not isinstance(op, dma.RingOp):
                record = self.record(op)
                record.op, record.location = op, op.location
                f.add(record)
            elif not isinstance(op, dma.RingOp | ReturnOp):
                raise KpuError(self.foreign.format(op.name), place_of(op))

    def record(self, op: Operation) -> records.Steps:
        """An operation."""
        match op:
            case tile.LoadOp():
                source, at = self.values[op.source], self.indices(op.indices)
                assert not isinstance(source, Index)
                return records.Load(
                    source, at, self.made(op.result, op.after is not None),
                    self.all(Index, op.reused), _numbers(op.permuted), *_padding(op, len(at)),
                    _fill(op.fill), self.maybe(Tensor, op.by), self.maybe(Index, op.after),
                )  # fmt: skip
            case tile.AllocOp():
                return records.Alloc(self.made(op.result, True), self.all(Index, op.reused))
            case tile.StoreOp():
                target, at = self.values[op.target], self.indices(op.indices)
                assert not isinstance(target, Index)
                over, axes = self.all(Index, op.over), _numbers(op.permuted)
                return records.Store(self.get(Tile, op.source), target, at, axes, over)
            case dma.FetchOp():
                at, listed = self.indices(op.indices), op.by
                return records.Fetch(
                    self.tensor(op, op.source), at, self.made(op.result, False),
                    self.all(Index, op.reused), *_padding(op, len(at)), _fill(op.fill),
                    None if listed is None else self.tensor(op, listed),
                    channels=_numbers(op.channels),
                )  # fmt: skip
            case dma.MoveOp():
                at, after = self.indices(op.indices), self.maybe(Index, op.after)
                return records.Move(
                    self.get(Tile, op.source), at, self.made(op.result, after is not None),
                    permutation_of(op.permuted, len(at)), self.all(Index, op.reused), after,
                    self.all(Index, op.over), channels=_numbers(op.channels), defer=_defer(op),
                )  # fmt: skip
            case dma.AcquireOp():
                return records.Acquire(self.made(op.result, True), self.all(Index, op.reused))
            case dma.PutOp():
                source, into = self.all(Tile, [op.source, op.into])
                return records.Put(source, into, channels=_numbers(op.channels), defer=_defer(op))
            case dma.WriteOp():
                return records.Write(
                    self.get(Tile, op.source), self.tensor(op, op.target),
                    self.indices(op.indices), self.all(Index, op.over),
                    channels=_numbers(op.channels), defer=_defer(op),
                )  # fmt: skip
            case compute.Matmul():
                lhs, rhs, into, *extra = self.all(Tile, [op.lhs, op.rhs, op.into, *op.extra])
                flow, over = op.dataflow.data, self.all(Index, op.over)
                window = op.window.plain if op.window else None
                sums = self.maybe(Tile, op.sums)
                return records.Matmul(
                    flow, lhs, rhs, into, over, extra, op.epilogue, window, sums, bool(op.each)
                )
            case compute.Map():
                return records.Map(self.all(Tile, op.inputs), self.get(Tile, op.into), op.body)
            case compute.Reduce():
                source, into = self.all(Tile, [op.source, op.into])
                over, axes = self.all(Index, op.over), integers(op.axes)
                return records.Reduce(op.reduction.data, source, into, axes, over)
            case compute.Rowwise():
                source, into = self.all(Tile, [op.source, op.into])
                by, axis = self.maybe(Tile, op.by), op.axis.value.data
                flags = bool(op.backward), bool(op.exclusive)
                return records.Rowwise(op.function.data, source, by, into, axis, *flags)
            case compute.Windowed():
                source, into, *extra = self.all(Tile, [op.source, op.into, *op.extra])
                weights = self.maybe(Tile, op.weights)
                kind, window, body = op.reduction.data, op.window.plain, op.epilogue
                return records.Windowed(kind, window, source, weights, into, extra, body)
            case _:
                raise KpuError(self.foreign.format(op.name), place_of(op))


def index_of(op: Operation, operands: Sequence[Index]) -> Index:
    """What an operation on indices makes of others."""
    affine = None
    match op, [i.affine for i in operands]:
        case arith.ConstantOp(), _ if isinstance(op.value, IntegerAttr):
            affine = constant(op.value.value.data)
        case arith.AddiOp(), [Affine() as a, Affine() as b]:
            affine = a + b
        case arith.SubiOp(), [Affine() as a, Affine() as b]:
            affine = a + b.scaled(-1)
        case arith.MuliOp(), [Affine() as a, Affine() as b] if not a.terms:
            affine = b.scaled(a.const)
        case arith.MuliOp(), [Affine() as a, Affine() as b] if not b.terms:
            affine = a.scaled(b.const)
        case _:
            pass
    return Index(affine, -1, op.results[0].name_hint, op, tuple(operands), location=op.location)


def _numbers(attr: DenseArrayBase | None) -> Shape | None:
    return None if attr is None else integers(attr)


def _fill(attr: FloatAttr | None) -> float:
    return attr.value.data if attr else 0.0


def _defer(op: dma.MoveOp | dma.PutOp | dma.WriteOp) -> int:
    return op.defer.value.data if op.defer else 0


def _padding(op: tile.LoadOp | dma.FetchOp, rank: int) -> tuple[Shape | None, Shape | None]:
    """What is read before and after each dimension; None where nothing is."""
    if op.low is None and op.high is None:
        return None, None
    return tile.padding_of(op.low, rank), tile.padding_of(op.high, rank)


PANELS = "kpu.panels"
"""The attribute of a ``tile`` or ``dma`` function that says which matrices it reads stand in panels one
behind the other: pairs of a parameter and of the rows of each panel."""


def panels_of(func: FuncOp) -> dict[int, int]:
    """The rows of a panel, by parameter. Raises ``KpuError`` where they are not rows of it."""
    attr = func.attributes.get(PANELS)
    if attr is None:
        return {}
    numbers = integers(attr) if isinstance(attr, DenseArrayBase) else ()
    args = func.body.block.args
    found = dict(zip(numbers[::2], numbers[1::2]))
    for n, rows in found.items():
        shape = SSAValue.get(args[n], type=MemRefType).type.get_shape() if n < len(args) else ()
        if len(shape) != 2 or rows < 1 or shape[0] % rows:
            found = {}
            break
    if not found or len(numbers) % 2:
        raise KpuError(
            f"{PANELS} is array<i64: parameter, rows of each of its panels, ...>, got {attr}",
            place_of(func),
        )
    return found


def write_function(
    function: Function, dialect: ModuleType, visibility: StringAttr | None
) -> FuncOp:
    """The IR of a function: a ``func.func`` of its tensors. ``dialect``: ``tile`` or ``dma``."""
    return _Writer(function, dialect, visibility).func


class _Writer:
    """Writes one function; ``values`` are the values that stand for what it is about."""

    def __init__(
        self, function: Function, dialect: ModuleType, visibility: StringAttr | None
    ) -> None:
        self.dialect = dialect
        types = [t.type for t in function.tensors]
        block = Block(arg_types=types)
        self.values: dict[Index | Tensor | Tile, SSAValue] = {}
        for tensor, arg in zip(function.tensors, block.args):
            arg.name_hint = tensor.name
            self.values[tensor] = arg
        within = block
        if dialect is dma:
            within = Block()
            block.add_op(dma.ProgramOp(within))
        build = Builder(InsertPoint.at_end(within))
        for r in function.rings:
            type = TileType.of(r.shape, r.element, Level(r.level))
            build.insert(dma.RingOp(r.name, r.depth, type, r.address))
        self.nodes(function.body, build)
        block.add_op(ReturnOp())
        signature = FunctionType.from_lists(types, [])
        self.func = FuncOp(function.name, signature, Region(block), visibility=visibility)

    def all(self, of: Sequence[Index] | Sequence[Tile]) -> list[SSAValue]:
        """The values of loops or of tiles."""
        return [self.values[one] for one in of]

    def maybe(self, of: Index | Tensor | Tile | None) -> SSAValue | None:
        """The value of what may be absent."""
        return None if of is None else self.values[of]

    def indices(self, indices: records.Indices) -> list[int | SSAValue]:
        """Offsets."""
        return [i if isinstance(i, int) else self.values[i] for i in indices]

    def nodes(self, nodes: Sequence[records.Node], build: Builder) -> None:
        """A block."""
        for node in nodes:
            match node:
                case records.Loop():
                    r = node.bounds
                    op = build.insert(tile.ForOp(r.start, r.stop, r.step))
                    self.name(node.index, op.induction_var)
                    self.nodes(node.body, Builder(InsertPoint.at_end(op.body.block)))
                case Index():
                    op = self.index(node, build)
                    self.name(node, op.results[0])
                case records.Load() | records.Alloc() | records.Fetch() | records.Move():
                    op = build.insert(self.operation(node))
                    self.name(node.out, op.results[0])
                case records.Acquire():
                    op = build.insert(self.operation(node))
                    self.name(node.out, op.results[0])
                case _:
                    op = build.insert(self.operation(node))
            op.location = node.location or op.location

    def name(self, of: Index | Tile, value: SSAValue) -> None:
        """A value stands for something, and is called like it."""
        self.values[of] = value
        value.name_hint = of.name

    def index(self, node: Index, build: Builder) -> Operation:
        """Arithmetic on indices."""
        if node.make is None:
            assert node.op is not None
            known = {v: self.values[i] for v, i in zip(node.op.operands, node.operands)}  # pyright: ignore
            return build.insert(node.op.clone(known))
        operands: list[SSAValue] = []
        for i in node.operands:
            if isinstance(i, int):
                number = arith.ConstantOp.from_int_and_width(i, IndexType())
                operands.append(build.insert(number).result)
            else:
                operands.append(self.values[i])
        return build.insert(node.make(*operands))

    def operation(self, node: records.Steps) -> Operation:
        """An operation."""
        to, values = self.dialect, self.values
        match node:
            case records.Load():
                return tile.LoadOp(
                    values[node.source], self.indices(node.indices), _type(node.out),
                    self.all(node.reused), node.permuted, node.low, node.high, node.fill,
                    self.maybe(node.by), self.maybe(node.after),
                )  # fmt: skip
            case records.Alloc():
                return tile.AllocOp(_type(node.out), self.all(node.reused))
            case records.Store():
                at, over = self.indices(node.indices), self.all(node.over)
                source, target = values[node.source], values[node.target]
                return tile.StoreOp(source, target, at, node.permuted, over)
            case records.Fetch():
                return dma.FetchOp(
                    values[node.source], self.indices(node.indices), node.out.ring.name,
                    _type(node.out), self.all(node.reused), node.channels, node.low, node.high,
                    node.fill, self.maybe(node.by),
                )  # fmt: skip
            case records.Move():
                return dma.MoveOp(
                    values[node.source], self.indices(node.indices), node.out.ring.name,
                    _type(node.out), self.all(node.reused), node.permuted, node.channels,
                    node.defer, self.maybe(node.after), self.all(node.over),
                )  # fmt: skip
            case records.Acquire():
                return dma.AcquireOp(node.out.ring.name, _type(node.out), self.all(node.reused))
            case records.Put():
                source, into = self.all([node.source, node.into])
                return dma.PutOp(source, into, node.channels, node.defer)
            case records.Write():
                source, target, over = values[node.source], values[node.target], self.all(node.over)
                at = self.indices(node.indices)
                return dma.WriteOp(source, target, at, node.channels, node.defer, over)
            case records.Matmul():
                lhs, rhs, into, *extra = self.all([node.lhs, node.rhs, node.into, *node.extra])
                over, window = self.all(node.over), _window(node.window)
                body = self.body(node.epilogue)
                sums = self.maybe(node.sums)
                given = lhs, rhs, into, over, extra, body, window, sums, node.each
                return to.MatmulOp(node.dataflow, *given)
            case records.Map():
                return to.MapOp(self.all(node.inputs), values[node.into], self.body(node.body))
            case records.Reduce():
                source, into, over = values[node.source], values[node.into], self.all(node.over)
                return to.ReduceOp(node.reduction, source, into, node.axes, over)
            case records.Rowwise():
                source, into, by = values[node.source], values[node.into], self.maybe(node.by)
                flags = node.backward, node.exclusive
                return to.RowOp(node.what, source, by, into, node.axis, *flags)
            case records.Windowed():
                source, into, *extra = self.all([node.source, node.into, *node.extra])
                weights, window = self.maybe(node.weights), _window(node.window)
                body = self.body(node.epilogue)
                return to.WindowOp(node.reduction, window, source, weights, into, extra, body)

    def body(self, region: Region | None) -> Region | None:
        """A copy of a scalar body, with the dialect's own terminator."""
        if region is None:
            return None
        new = region.clone()
        last = new.block.last_op
        assert last is not None
        values = list(last.operands)
        last.detach()
        last.erase()
        new.block.add_op(self.dialect.YieldOp(*values))
        return new


def _type(of: Tile) -> TileType:
    return TileType.of(of.shape, of.element, of.level)


def _window(window: Window | None) -> WindowAttr | None:
    return (
        None if window is None else WindowAttr.of(window.kernel, window.strides, window.dilations)
    )
