"""How to compile: the options that ``compile`` and the passes of the pipeline have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import a_kind, allowed
from kpu_ir.tuning.objective import Objective, SearchEffort

if TYPE_CHECKING:
    from kpu_ir.lowering.schedule import Schedule

Fuse = Literal["none", "epilogue", "full"]
Quantize = Literal["fold", "off"]
Requantize = Literal["model", "f32", "double"]
Precision = Literal["f32", "f16", "bf16"]
Progress = Callable[[str], None]
"""What is told of each step of compiling."""


@dataclass(frozen=True)
class Options:
    """How to compile.

    ``fuse``: ``epilogue`` puts elementwise functions onto what they follow, ``full`` also keeps
    what is between products on chip where the simulator says that it pays (``tuning/fusion.py``).
    ``search``: ``none`` takes default schedules, ``quick`` and ``full`` try candidates in the
    simulator, ``ranked`` the first few in a learned order (for sweeps and first looks).
    ``quantize``: ``fold`` computes on stored integers what stands between dequantize and quantize,
    ``off`` in floats, as the model has it. ``requantize``: how sums of integers become quantized numbers
    again, as the ``model`` says (f32 where it says nothing), by one product in ``f32``, or in integers,
    rounded twice (``double``). ``precision``: what the model's f32 becomes, inputs and
    outputs apart. Raises ``KpuError`` for a value that is none of these.
    """

    fuse: Fuse = "full"
    search: SearchEffort = "quick"
    objective: Objective = "cycles"
    quantize: Quantize = "fold"
    requantize: Requantize = "model"
    precision: Precision = "f32"
    schedule: Schedule | None = None
    """One schedule for every product, instead of a choice; nothing but epilogues is fused then."""

    def __post_init__(self) -> None:
        kinds = {
            "fuse": Fuse, "search": SearchEffort, "objective": Objective, "quantize": Quantize,
            "requantize": Requantize, "precision": Precision,
        }  # fmt: skip
        for name, kind in kinds.items():
            value, known = getattr(self, name), get_args(kind)
            if value not in known:
                raise KpuError(f"{name} cannot be {value!r}", hint=allowed(value, known))
        given: Any = self.schedule
        if given is None:
            return
        from kpu_ir.lowering.schedule import Schedule

        if isinstance(given, Schedule):
            given.check()
        else:
            raise KpuError(
                f"schedule must be a Schedule, got {a_kind(given)}",
                hint='write kpu_ir.Schedule(tile=(64, 64, 64), dataflow="ws"), or None to choose',
            )

    def with_settings(self, settings: Mapping[str, Any]) -> Options:
        """These options with some changed. Raises ``KpuError`` for a name that none has."""
        known = [f.name for f in fields(self)]
        for name in settings:
            if name not in known:
                raise KpuError(f"there is no option '{name}'", hint=allowed(name, known, "options"))
        return replace(self, **settings)
