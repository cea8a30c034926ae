"""What plain ``xdsl-opt`` loads of ours: factories only, imported when used.

Pass names are prefixed: one that clashes with another plugin's breaks every xdsl-opt of the
environment.
"""

from xdsl.universe import Universe

from kpu_ir.registry import DIALECTS, PASSES, dialect_factory, pass_factory

PREFIX = "kpu-"

UNIVERSE = Universe(
    all_dialects={name: dialect_factory(target) for name, target in DIALECTS.items()},
    all_passes={f"{PREFIX}{name}": pass_factory(target, PREFIX) for name, target in PASSES.items()},
)
