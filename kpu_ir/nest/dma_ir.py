"""``dma`` functions as IR: read into records, written from them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import FunctionType, IntegerAttr, MemRefType, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import dma, tile
from kpu_ir.dialects.tile import Level, TileType, WindowAttr, integers, padding_of, permutation_of
from kpu_ir.nest import records
from kpu_ir.nest.records import Function
from kpu_ir.nest.values import Affine, Index, Ring, Shape, Tensor, Tile, constant
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import known, place_of


def index_of(op: Operation, operands: Sequence[Index]) -> Index:
    """What an operation on indices makes of others."""
    affine = None
    known = [i.affine for i in operands]
    match op, known:
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
    broken = next((i.op for i in operands if i.affine is None), None)
    return Index(affine, -1, op.results[0].name_hint, broken or op, tuple(operands))


def read_function(func: FuncOp) -> Function:
    """The records of a ``dma`` function. Raises ``KpuError`` for what does not belong in one."""
    return _Reader(func).function


class _Reader:
    """Reads one function; ``values`` are what its values stand for."""

    def __init__(self, func: FuncOp) -> None:
        self.function = Function(func.sym_name.data, known(func.location, func.name))
        self.values: dict[SSAValue, Index | Tensor | Tile] = {}
        self.rings: dict[str, Ring] = {}
        for position, arg in enumerate(func.body.block.args):
            type = SSAValue.get(arg, type=MemRefType).type
            tensor = Tensor(position, type, arg.name_hint)
            self.values[arg] = tensor
            self.function.tensors.append(tensor)
        for op in func.body.block.ops:
            if isinstance(op, dma.RingOp):
                self._declare(op)
        self._block(func.body.block)

    def _declare(self, op: dma.RingOp) -> None:
        name, type = op.sym_name.data, op.type
        if name in self.rings:
            raise KpuError(f"ring @{name} is declared twice", place_of(op))
        ring = Ring(
            name,
            type.get_shape(),
            type.element_type,
            str(type.level.data.value),
            op.depth.value.data,
            op.address.value.data,
            op=op,
        )
        self.rings[name] = ring
        self.function.rings.append(ring)

    # -- values -----------------------------------------------------------------------------------

    def _tile(self, value: SSAValue) -> Tile:
        tile = self.values[value]
        assert isinstance(tile, Tile)
        return tile

    def _tiles(self, values: Sequence[SSAValue]) -> list[Tile]:
        return [self._tile(v) for v in values]

    def _index(self, value: SSAValue) -> Index:
        index = self.values[value]
        assert isinstance(index, Index)
        return index

    def _indices(self, indices: Sequence[int | SSAValue]) -> list[int | Index]:
        return [i if isinstance(i, int) else self._index(i) for i in indices]

    def _loops(self, values: Sequence[SSAValue]) -> list[Index]:
        return [self._index(v) for v in values]

    def _tensor(self, op: Operation, value: SSAValue) -> Tensor:
        tensor = self.values.get(value)
        if not isinstance(value, BlockArgument) or not isinstance(tensor, Tensor):
            raise KpuError(
                "a kernel reaches external memory only by its parameters",
                place_of(op),
            )
        return tensor

    def _made(self, op: dma.FetchOp | dma.MoveOp | dma.AcquireOp, room: bool = False) -> Tile:
        name = op.ring.root_reference.data
        if name not in self.rings:
            raise KpuError(f"there is no dma.ring @{name}", place_of(op))
        tile = self.function.tile(self.rings[name], op.result.name_hint, room)
        tile.shape = op.result.type.get_shape()
        self.values[op.result] = tile
        return tile

    # -- operations -------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        f = self.function
        for op in block.ops:
            match op:
                case tile.ForOp():
                    var = op.induction_var
                    self.values[var] = f.enter(op.bounds, var.name_hint)
                    self._block(op.body.block)
                    f.leave()
                case dma.FetchOp():
                    self._fetch(op)
                case dma.MoveOp():
                    self._move(op)
                case dma.WriteOp():
                    self._write(op)
                case dma.AcquireOp():
                    made = self._made(op, room=True)
                    f.acquire(records.Acquire(made, self._loops(op.reused), op=op))
                case dma.PutOp():
                    source, into = self._tiles([op.source, op.into])
                    put = records.Put(
                        source, into, channels=_channels(op), defer=_number(op.defer), op=op
                    )
                    f.add(put)
                case dma.MatmulOp() | dma.MapOp() | dma.ReduceOp() | dma.WindowOp():
                    self._compute(op)
                case dma.RingOp() | ReturnOp():
                    pass
                case _ if op.name.startswith("arith."):
                    index = index_of(op, [self._index(v) for v in op.operands])
                    self.values[op.results[0]] = index
                    f.add(records.Scalar(index, op=op))
                case _:
                    raise KpuError(
                        "this operation does not belong at the dma level",
                        place_of(op),
                    )

    def _fetch(self, op: dma.FetchOp) -> None:
        source = self._tensor(op, op.source)
        rank, padded = len(source.shape), op.low is not None or op.high is not None
        self.function.fetch(
            records.Fetch(
                source,
                self._indices(op.indices),
                self._made(op),
                self._loops(op.reused),
                padding_of(op.low, rank) if padded else None,
                padding_of(op.high, rank) if padded else None,
                op.fill.value.data if op.fill else 0.0,
                None if op.by is None else self._tensor(op, op.by),
                channels=_channels(op),
                op=op,
            )
        )

    def _move(self, op: dma.MoveOp) -> None:
        made = self._made(op, room=op.after is not None)
        self.function.move(
            records.Move(
                self._tile(op.source),
                self._indices(op.indices),
                made,
                permutation_of(op.permuted, len(made.shape)),
                self._loops(op.reused),
                None if op.after is None else self._index(op.after),
                self._loops(op.over),
                channels=_channels(op),
                defer=_number(op.defer),
                op=op,
            )
        )

    def _write(self, op: dma.WriteOp) -> None:
        self.function.write(
            records.Write(
                self._tile(op.source),
                self._tensor(op, op.target),
                self._indices(op.indices),
                self._loops(op.over),
                channels=_channels(op),
                defer=_number(op.defer),
                op=op,
            )
        )

    def _compute(self, op: dma.MatmulOp | dma.MapOp | dma.ReduceOp | dma.WindowOp) -> None:
        f, into = self.function, self._tile(op.into)
        match op:
            case dma.MatmulOp():
                lhs, rhs, *extra = self._tiles([op.lhs, op.rhs, *op.extra])
                window = op.window.plain if op.window else None
                over, flow = self._loops(op.over), op.dataflow.data
                f.sum(records.Matmul(flow, lhs, rhs, into, over, extra, op.epilogue, window, op=op))
            case dma.MapOp():
                f.add(records.Map(self._tiles(op.inputs), into, op.body, op=op))
            case dma.ReduceOp():
                source, over = self._tile(op.source), self._loops(op.over)
                kind, axes = op.reduction.data, integers(op.axes)
                f.sum(records.Reduce(kind, source, into, axes, over, op=op))
            case dma.WindowOp():
                kind, window, source = op.reduction.data, op.window.plain, self._tile(op.source)
                weights = None if op.weights is None else self._tile(op.weights)
                extra = self._tiles(op.extra)
                f.add(
                    records.Windowed(kind, window, source, weights, into, extra, op.epilogue, op=op)
                )


def _channels(op: dma.FetchOp | dma.MoveOp | dma.PutOp | dma.WriteOp) -> Shape | None:
    return None if op.channels is None else integers(op.channels)


def _number(attr: IntegerAttr | None) -> int:
    return attr.value.data if attr else 0


def write_function(function: Function, visibility: StringAttr | None) -> FuncOp:
    """The IR of a function: a ``func.func`` of its tensors."""
    return _Writer(function, visibility).func


class _Writer:
    """Writes one function; ``values`` are the values that stand for what it is about."""

    def __init__(self, function: Function, visibility: StringAttr | None) -> None:
        types = [t.type for t in function.tensors]
        block = Block(arg_types=types)
        self.values: dict[Index | Tensor | Tile, SSAValue] = {}
        for tensor, arg in zip(function.tensors, block.args):
            arg.name_hint = tensor.name
            self.values[tensor] = arg
        self._nodes(function.body, Builder(InsertPoint.at_end(block)))
        block.add_op(ReturnOp())
        rings = [dma.RingOp(r.name, r.depth, _type(r), r.address) for r in function.rings]
        first = block.first_op
        assert first is not None
        block.insert_ops_before(rings, first)
        self.func = FuncOp(
            function.name, FunctionType.from_lists(types, []), Region(block), visibility=visibility
        )

    def _tiles(self, tiles: Sequence[Tile]) -> list[SSAValue]:
        return [self.values[t] for t in tiles]

    def _loops(self, indices: Sequence[Index]) -> list[SSAValue]:
        return [self.values[i] for i in indices]

    def _indices(self, indices: records.Indices) -> list[int | SSAValue]:
        return [i if isinstance(i, int) else self.values[i] for i in indices]

    def _nodes(self, nodes: Sequence[records.Node], build: Builder) -> None:
        for node in nodes:
            if isinstance(node, records.Loop):
                r = node.bounds
                loop = build.insert(tile.ForOp(r.start, r.stop, r.step))
                loop.location = node.location or loop.location
                loop.induction_var.name_hint = node.index.name
                self.values[node.index] = loop.induction_var
                self._nodes(node.body, Builder(InsertPoint.at_end(loop.body.block)))
            elif isinstance(node, records.Scalar):
                self._scalar(node, build)
            else:
                op = build.insert(self._operation(node))
                op.location = node.location or op.location
                if isinstance(node, records.Fetch | records.Move | records.Acquire):
                    op.results[0].name_hint = node.out.name
                    self.values[node.out] = op.results[0]

    def _scalar(self, node: records.Scalar, build: Builder) -> None:
        assert node.op is not None
        inputs = {v: self.values[i] for v, i in zip(node.op.operands, node.index.operands)}
        op = build.insert(node.op.clone(inputs))
        op.location = node.location or op.location
        self.values[node.index] = op.results[0]

    def _operation(self, node: records.Node) -> Operation:
        match node:
            case records.Fetch():
                source, out = self.values[node.source], node.out
                return dma.FetchOp(
                    source, self._indices(node.indices), out.ring.name, _type(out),
                    self._loops(node.reused), node.channels, node.low, node.high, node.fill,
                    None if node.by is None else self.values[node.by],
                )  # fmt: skip
            case records.Move():
                source, out = self.values[node.source], node.out
                return dma.MoveOp(
                    source, self._indices(node.indices), out.ring.name, _type(out),
                    self._loops(node.reused), node.permuted, node.channels, node.defer,
                    None if node.after is None else self.values[node.after],
                    self._loops(node.over),
                )  # fmt: skip
            case records.Write():
                source, target = self.values[node.source], self.values[node.target]
                at, over = self._indices(node.indices), self._loops(node.over)
                return dma.WriteOp(source, target, at, node.channels, node.defer, over)
            case records.Acquire():
                return dma.AcquireOp(node.out.ring.name, _type(node.out), self._loops(node.reused))
            case records.Put():
                source, into = self._tiles([node.source, node.into])
                return dma.PutOp(source, into, node.channels, node.defer)
            case records.Matmul():
                lhs, rhs, into = self._tiles([node.lhs, node.rhs, node.into])
                w = node.window
                return dma.MatmulOp(
                    node.dataflow, lhs, rhs, into, self._loops(node.over), self._tiles(node.extra),
                    _body(node.epilogue),
                    None if w is None else WindowAttr.of(w.kernel, w.strides, w.dilations),
                )  # fmt: skip
            case records.Map():
                body = _body(node.body)
                assert body is not None
                return dma.MapOp(self._tiles(node.inputs), self.values[node.into], body)
            case records.Reduce():
                source, into = self._tiles([node.source, node.into])
                over = self._loops(node.over)
                return dma.ReduceOp(node.reduction, source, into, node.axes, over)
            case records.Windowed():
                source, into = self._tiles([node.source, node.into])
                w = node.window
                return dma.WindowOp(
                    node.reduction, WindowAttr.of(w.kernel, w.strides, w.dilations), source,
                    None if node.weights is None else self.values[node.weights],
                    into, self._tiles(node.extra), _body(node.epilogue),
                )  # fmt: skip
            case records.Loop() | records.Scalar():
                raise AssertionError


def _type(of: Ring | Tile) -> TileType:
    ring = of if isinstance(of, Ring) else of.ring
    return TileType.of(of.shape, ring.element, Level(ring.level))


def _body(region: Region | None) -> Region | None:
    """A scalar body, with our own terminator."""
    if region is None:
        return None
    new = region.clone()
    last = new.block.last_op
    assert last is not None
    values = list(last.operands)
    last.detach()
    last.erase()
    new.block.add_op(dma.YieldOp(*values))
    return new
