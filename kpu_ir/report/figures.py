"""The figures of a run, as plain data: nothing that computes them is imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kpu_ir.support.lines import shortened


@dataclass(frozen=True, slots=True)
class Error:
    """Of outputs against their reference, the worst of each: the largest difference, and that over
    the largest value.

    With short floats (``kind``: the shortest), in steps of that type at an output's largest value as
    well, and how many rounding the exact result once takes (0.5 at most).
    """

    absolute: float
    relative: float
    kind: str = ""
    steps: float | None = None
    rounding: float | None = None


def error_in_words(error: Error) -> Sequence[str]:
    """What to say of an error: the difference, and with short floats what the type allows."""
    text = f"largest difference {error.absolute:.3g}, {error.relative:.3g} of the largest value"
    if error.steps is None:
        return (text,)
    return (
        text,
        f"that is {error.steps:.3g} steps of {error.kind} at that value; rounding the exact result "
        f"once takes {error.rounding:.3g}",
    )


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel call.

    ``start``, ``end``: its first operation begins, its last one ends; ``span``: the cycles between.
    Calls overlap, so spans add up to more than the run. ``cycles`` add up to the run's: how far the
    call moves the latest end of all calls before it. ``bound_by``: the largest of its own bounds and
    the vector engine's work; ``roofline_fraction``: that over its span. ``io_bound_bytes``: what any
    order of its multiply-accumulates must move past the memories of the chip; None unless it is one
    product. ``types``: its multiply-accumulates by the type that is multiplied.
    """

    label: str
    kernel: str
    start: int
    end: int
    span: int
    cycles: int
    macs: int
    external_bytes: int
    energy_pj: float
    bound_by: str
    roofline_fraction: float
    busy: dict[str, int]
    io_bound_bytes: int | None
    types: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """Everything that ``kpu-run --json`` prints: cycles, seconds, bytes, pJ, fractions of 1.

    * ``outputs``: what the values were compared with, or that they were not.
    * ``version``, ``machine_digest``, ``command``: which kpu-ir and which values of the machine gave
      the figures, and what gives them again.
    * ``flops``: two a multiply-accumulate, one a lane operation of the vector engine.
    * ``peak_fraction``: the array's work at peak, over cycles.
    * ``roofline_fraction``: the largest of compute and each level's *counted* traffic bound, over
      cycles; ``bound_by`` says which, or that the vector engine has more work than any of them.
    * ``compulsory_fraction``: the larger of compute and *compulsory* external traffic, over cycles.
    * ``macs``: multiply-accumulates that were simulated, of the array and of the vector engine.
    * ``vector_types``: types of products that the array does not multiply, so that the vector engine does.
    * ``model_macs``: of the model's operators, as its file has them; ``coverage``: the share of those that
      was simulated, 1 where no operator is on the host. ``model_nodes``, ``folded_nodes``, ``host_nodes``: its
      operators, those that were computed at import, and those that neither were nor are on the device. None
      where the source is no ONNX model.
    * ``external_peak_bytes``: the most of external memory that is in use at any time;
      ``tensor_bytes``: what all tensors would take without sharing it.
    * ``io_bound_bytes``: the sum of the kernels', each one alone; None unless each is one product.
    * ``engines``: ``busy``, ``stalls`` by cause, ``idle_before``, ``idle_after`` of each add up to
      ``cycles``.
    * ``events``: what was counted, that energy is charged to (docs/timing.md); ``energy_table``: pJ of one.
    * ``costs``: cycles that the program saves where the machine is spared one cost of hardware, and all
      ``together``.
    * ``area_mm2``: of the machine, by part (docs/area.md). ``power_w``: energy over seconds (``dynamic``, external
      memory's too), and ``leakage``; ``leakage_w``: that by part. ``standby_w``: watts of external memory's
      ``refresh`` and ``background``, which ``energy_pj`` has for ``seconds``. ``power_peak_w``: of a
      hundred equal parts of the run the one that draws most, each kernel's energy spread evenly over its span.
    * ``max_rel_error``: max |got - expected| / max |expected| of each output, the worst. Where the model
      has floats shorter than f32 what is expected is exact (float64), ``short_type`` is the shortest,
      ``error_steps`` the error in steps of it at the largest value, and ``rounding_steps`` that of rounding the exact
      result once.
    """

    outputs: str
    version: str
    command: str
    source: str
    machine: str
    machine_digest: str
    clock_hz: float
    cycles: int
    seconds: float
    macs: int
    flops: int
    vector_types: list[str]
    model_macs: int | None
    coverage: float | None
    model_nodes: int | None
    folded_nodes: int | None
    host_nodes: int | None
    peak_fraction: float
    roofline_fraction: float
    compulsory_fraction: float
    bound_by: str
    bytes: dict[str, dict[str, int]]
    compulsory_bytes: int
    external_peak_bytes: int
    tensor_bytes: int
    io_bound_bytes: int | None
    engines: dict[str, dict[str, Any]]
    events: dict[str, int]
    energy_pj: dict[str, float]
    energy_table: dict[str, float]
    costs: dict[str, int]
    area_mm2: dict[str, float]
    power_w: dict[str, float]
    power_peak_w: float
    standby_w: dict[str, float]
    leakage_w: dict[str, float]
    kernels: list[KernelRow]
    max_abs_error: float | None
    max_rel_error: float | None
    short_type: str | None
    error_steps: float | None
    rounding_steps: float | None
    compile_seconds: float
    simulate_seconds: float
    operations: int
    stepped: int

    def __repr__(self) -> str:
        source = f" of {self.source}" if self.source else ""
        kernels = f"{len(self.kernels):,} kernel{'s' * (len(self.kernels) != 1)}"
        return shortened(
            f"<Summary{source} on {self.machine}: {self.cycles:,} cycles, "
            f"{self.roofline_fraction:.1%} of the roofline, {kernels}>"
        )

    @property
    def error(self) -> Error | None:
        """That of the outputs, if they were compared."""
        if self.max_abs_error is None or self.max_rel_error is None:
            return None
        kind = self.short_type or ""
        return Error(
            self.max_abs_error, self.max_rel_error, kind, self.error_steps, self.rounding_steps
        )

    @staticmethod
    def from_dict(figures: dict[str, Any]) -> Summary:
        """From what ``to_json`` prints. Raises ``TypeError`` or ``LookupError`` for anything else."""
        rows = [KernelRow(**row) for row in figures["kernels"]]
        fields: dict[str, Any] = {**figures, "kernels": rows}
        return Summary(**fields)

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)
