"""Whether to fuse, decided by simulating both.

Each group that ``kernel-fusion-candidates`` makes is compiled twice, as one program and as the programs that
its operations would be otherwise, with schedules searched for each; the simulator says which is
better. Equal groups are decided once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.passes.kernel_fusion_candidates import ATTRIBUTE, ungroup
from kpu_ir.passes.kernel_outline import captured
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.choice import Choice, Cost, better

Measure = Callable[[ModuleOp], Cost]
"""What a module takes at the ``kernel`` level, as it stands (no more grouping)."""


def alone(op: kernel.FusedOp) -> ModuleOp:
    """A module that computes one group from arguments."""
    arguments = captured(op)
    block = Block(arg_types=[v.type for v in arguments])
    mapper: dict[SSAValue, SSAValue] = dict(zip(arguments, block.args))
    clone = op.clone(mapper)
    block.add_op(clone)
    block.add_op(ReturnOp(*clone.results))
    types = ([a.type for a in block.args], [r.type for r in clone.results])
    return ModuleOp([FuncOp("main", types, Region(block))])


def place_of(op: Operation) -> str:
    """A name for where a group stands: the nodes it was made from, else its value."""
    nodes = [one.attributes.get("kernel.node") for one in op.walk()]
    names = [node.data for node in nodes if isinstance(node, StringAttr)]
    if names:
        return names[0] if len(names) == 1 else f"{names[0]} .. {names[-1]}"
    hint = op.results[0].name_hint
    return f"%{hint}" if hint else op.name


def text_of(module: ModuleOp) -> str:
    """What two equal groups have in common: no names, no places."""
    for one in module.walk():
        one.attributes.pop("kernel.node", None)
        for value in one.results:
            value._name = None  # pyright: ignore[reportPrivateUsage]
    return str(module)


def decide(module: ModuleOp, measure: Measure, objective: str) -> list[Choice]:
    """Take apart the groups that are better apart; what was chosen for each."""
    known: dict[str, Choice] = {}
    choices: list[Choice] = []
    for op in list(module.walk()):
        if not isinstance(op, kernel.FusedOp) or ATTRIBUTE not in op.attributes:
            continue
        key = text_of(alone(op))
        if key not in known:
            known[key] = _choice(op, measure, objective)
        choice = known[key]
        choices.append(
            Choice(choice.group, place_of(op), choice.fuse, choice.fused, choice.apart, choice.why)
        )
        if choice.fuse:
            del op.attributes[ATTRIBUTE]
        else:
            ungroup(op)
    return choices


def _choice(op: kernel.FusedOp, measure: Measure, objective: str) -> Choice:
    name = op.attributes[ATTRIBUTE]
    assert isinstance(name, StringAttr)
    apart = alone(op)
    for one in list(apart.walk()):
        if isinstance(one, kernel.FusedOp):
            ungroup(one)
    otherwise, why_not = _measured(apart, measure)
    together, why = _measured(alone(op), measure)
    if together is None or otherwise is None:  # neither: lowering says where, with all around it
        fuse = together is not None
        return Choice(name.data, "", fuse, together, otherwise, why_not if fuse else why)
    return Choice(name.data, "", better(together, otherwise, objective), together, otherwise)


def _measured(module: ModuleOp, measure: Measure) -> tuple[Cost | None, str]:
    """What a module takes; None, and why, where it cannot be built."""
    try:
        return measure(module), ""
    except KpuError as e:
        return None, e.message


def unfused(module: ModuleOp, decided: bool = True) -> Iterator[str]:
    """Why the other neighbours in ``@main`` are not one program: a line a pair. ``decided``: two
    products, one after the other, were weighed."""
    for func in module.ops:
        if not isinstance(func, FuncOp):
            continue
        for op in func.body.block.ops:
            if not isinstance(op, kernel.KernelOperation) or isinstance(
                op, kernel.ConstantOp | kernel.ReshapeOp
            ):
                continue
            for result in op.results:
                users = {use.operation for use in result.uses}
                for user in users:
                    if isinstance(user, ReturnOp | CallOp):
                        continue
                    reason = _why(op, user, len(users))
                    if decided and reason.startswith("no nest") and _heads(op) == _heads(user):
                        reason = "apart is better, as said above"
                    yield f"{place_of(op)} -> {user.name.removeprefix('kernel.')}: {reason}"


def _heads(op: Operation) -> bool:
    """Whether an operation is a product, or a fused one that holds it."""
    return any(isinstance(one, kernel.MatmulOp) for one in op.walk())


def _why(op: Operation, user: Operation, users: int) -> str:
    """The first thing that keeps two operations apart."""
    if users > 1:
        return f"the value has {users} users"
    if isinstance(user, kernel.ReshapeOp):
        return "a view stands between them"
    if isinstance(user, kernel.MapOp):
        return "the function has another shape than what it follows"
    if isinstance(user, kernel.TransposeOp | kernel.SliceOp | kernel.ConcatOp | kernel.PadOp):
        return "a movement reads the whole tensor in another order"
    name = user.name.removeprefix("kernel.")
    return f"no nest holds a {op.name.removeprefix('kernel.')} and a {name}"
