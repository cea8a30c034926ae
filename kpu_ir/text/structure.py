"""What operations have in common that do the same, wherever they stand: no names, no places."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

SCALAR = "arith.constant"
PLACE = "kernel.node"
"""The attribute that says which node an operation was made from."""


@dataclass
class Structure:
    """Operations as plain tuples: values are numbers, in the order in which they are made."""

    numbers: dict[SSAValue, int] = field(default_factory=dict[SSAValue, int])
    scalars: bool = True
    """Whether the values of scalar constants count."""

    def values(self, values: Sequence[SSAValue]) -> Hashable:
        """The types of values that are made here."""
        for value in values:
            self.numbers[value] = len(self.numbers)
        return tuple([value.type for value in values])

    def operation(self, op: Operation) -> Hashable:
        """An operation, with all within it."""
        operands = tuple([self.numbers[value] for value in op.operands])
        said = frozenset(item for item in op.attributes.items() if item[0] != PLACE)
        given = op.properties.items() if self.scalars or op.name != SCALAR else ()
        made = self.values(op.results)
        regions = tuple(
            [
                tuple([(self.values(b.args), *map(self.operation, b.ops)) for b in region.blocks])
                for region in op.regions
            ]
        )
        return op.name, operands, frozenset(given), said, made, regions


def structure(
    ops: Sequence[Operation], arguments: Sequence[SSAValue], scalars: bool = True
) -> Hashable:
    """Equal for operations that do the same with ``arguments``, which are all that they use from
    outside; without ``scalars``: but for the values of scalar constants."""
    found = Structure(scalars=scalars)
    return found.values(arguments), tuple([found.operation(op) for op in ops])
