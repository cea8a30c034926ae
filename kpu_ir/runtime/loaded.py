"""Programs on a device: their weights in external memory, their kernels ready to be launched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.func import FuncOp

from kpu_ir.dialects.tile import is_pinned
from kpu_ir.frontends.python.calls import for_people
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.inputs import type_text
from kpu_ir.runtime.allocation import Region
from kpu_ir.runtime.base import AnyStream, Array, DeviceLike, RegionLike, Request
from kpu_ir.runtime.buffers import View
from kpu_ir.runtime.requests import overlap
from kpu_ir.runtime.timeline import Timed
from kpu_ir.sim.program.program import Port, Program, load_program, program_of
from kpu_ir.sim.values.values import ValueModel
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import a_kind, allowed
from kpu_ir.support.types import array_of, dtype_of


def port_bytes(port: Port) -> int:
    """Bytes of an argument in a buffer: elements of less than a byte take one each."""
    return dtype_of(port.type.element_type).itemsize * port.type.element_count()


class Kernel:
    """Something to launch: a whole program, or one function of it."""

    def __init__(
        self, name: str, program: Program, resident: Timed, share: int, device: DeviceLike
    ) -> None:
        """``share``: where on the chip its tiles stand."""
        self.name, self.program, self.resident = name, program, resident
        self.share, self.device = share, device
        self._values: ValueModel | None = None

    def __repr__(self) -> str:
        ends = ", ".join(f"{p.name}: {type_text(p.type)}" for p in self.ports)
        return f"<Kernel {self.name}({ends})>"

    @property
    def ports(self) -> tuple[Port, ...]:
        """Its arguments in order: of a program inputs, then outputs; of a function its parameters."""
        ports = (*self.program.inputs, *self.program.outputs)
        if self.name.startswith("@"):
            return tuple(sorted(ports, key=lambda port: port.buffer))
        return ports

    def request(self, args: Sequence[Any], named: Mapping[str, Any], stream: AnyStream) -> Request:
        """A launch on buffers. Raises ``KpuError`` for what does not fit."""
        if stream.device is not self.device:
            raise KpuError(f"{self.name} is loaded on another device")
        if stream.share != self.share:
            raise KpuError(
                f"{self.name} is loaded into share {self.share} of the chip, the stream has "
                f"{stream.share}",
                hint="load it for this stream: device.load(program, stream=stream)",
            )
        bound = self._bound(args, named)
        reads = tuple(bound[p.name] for p in self.program.inputs)
        writes = tuple(bound[p.name] for p in self.program.outputs)
        for number, write in enumerate(writes):
            for other in (*reads, *writes[:number]):
                if overlap(other, write):
                    does = "reads" if other in reads else "writes"
                    raise KpuError(
                        f"{self.name} would write over what it {does}: {write.allocation}",
                        hint="give the output a buffer of its own",
                    )
        given = {p.name: self._elements(bound[p.name], p) for p in self.program.inputs}
        taken = {p.name: self._elements(bound[p.name], p) for p in self.program.outputs}

        def run() -> None:
            if self._values is None:
                self._values = ValueModel(self.program)
            for name, result in self._values.run(given).items():
                taken[name][...] = result

        what = f"launch of {self.name}"
        reads = (*reads, *self._constants())
        return Request(what, reads, writes, run, self.resident, prepare=self._prepare)

    def _prepare(self, stream: AnyStream) -> Sequence[RegionLike]:
        """What a launch writes besides its arguments."""
        return ()

    def _constants(self) -> tuple[View, ...]:
        """What it reads besides."""
        return ()

    def _bound(self, args: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Region]:
        names = [p.name for p in self.ports]
        if len(args) > len(names):
            raise KpuError(f"{self.name} takes {len(names)} arguments, got {len(args)}: {names}")
        bound: dict[str, Any] = dict(zip(names, args))
        for name, value in named.items():
            if name not in names:
                hint = allowed(name, names, "arguments")
                raise KpuError(f"{self.name} has no argument '{name}'", hint=hint)
            if name in bound:
                raise KpuError(f"{self.name}: argument '{name}' is given twice")
            bound[name] = value
        for port in self.ports:
            if port.name not in bound:
                raise KpuError(
                    f"{self.name}: argument '{port.name}' is missing ({type_text(port.type)})"
                )
            self._check(port, bound[port.name])
        return bound

    def _check(self, port: Port, value: Any) -> None:
        wanted = f"{self.name}: argument '{port.name}' is {type_text(port.type)}"
        if not isinstance(value, Region) or not value.on_device:
            raise KpuError(
                f"{wanted} in a buffer of the device, got {a_kind(value)}",
                hint="copy it there first: device.array(values, stream=stream)",
            )
        value.allocation.check(self.device, f"argument '{port.name}'")
        dtype, shape = dtype_of(port.type.element_type), tuple(port.type.get_shape())
        if value.nbytes != port_bytes(port) or (
            value.dtype is not None and (value.dtype, value.shape) != (dtype, shape)
        ):
            has = (
                f"{value.dtype} of shape {value.shape}"
                if value.dtype
                else f"{value.nbytes:,} bytes"
            )
            raise KpuError(f"{wanted}, got {has}: {value.allocation}")

    @staticmethod
    def _elements(region: Region, port: Port) -> Array:
        dtype = dtype_of(port.type.element_type)
        return region.bytes().view(dtype).reshape(tuple(port.type.get_shape()))


@for_people
class LoadedProgram(Kernel):
    """A compiled program on a device. ``weights``: its constants there, if it has any."""

    def __init__(
        self, name: str, compiled: Compiled, resident: Timed, share: int, device: DeviceLike
    ) -> None:
        """``device.load`` makes it."""
        super().__init__(name, compiled.program, resident, share, device)
        self.compiled = compiled
        self.weights: View | None = None
        self._size = workspace_bytes(self.program)
        self._kernels: dict[str, Kernel] = {}

    def _prepare(self, stream: AnyStream) -> Sequence[RegionLike]:
        return self.device.workspace(self, self._size, stream)

    def _constants(self) -> tuple[View, ...]:
        return () if self.weights is None else (self.weights,)

    @property
    def kernels(self) -> tuple[str, ...]:
        """The names of its functions."""
        return tuple(plan.name for plan in self.program.plans)

    def get_kernel(self, name: str) -> Kernel:
        """One of its functions, to be launched alone. Raises ``KpuError`` for a name that none has."""
        if name not in self._kernels:
            if name not in self.kernels:
                hint = allowed(name, self.kernels, "kernels")
                raise KpuError(f"{self.name} has no kernel '{name}'", hint=hint)
            plan = self.program.plans[self.kernels.index(name)]
            if any(is_pinned(t) for t in plan.parameters):
                raise KpuError(f"@{name} has tensors in L3: it runs within its program only")
            func = next(
                f
                for f in self.compiled.stages["dma"].ops
                if isinstance(f, FuncOp) and f.sym_name.data == name
            )
            hints = [a.name_hint for a in func.body.block.args]
            number, machine = self.kernels.index(name), self.program.machine
            alone = program_of(plan, hints, machine)
            resident = self.device.resident(
                lambda: program_of(read_again(self.compiled).plans[number], hints, machine),
                self.share,
            )
            self._kernels[name] = Kernel(f"@{name}", alone, resident, self.share, self.device)
        return self._kernels[name]

    def close(self, *, stream: AnyStream) -> None:
        """Give its weights and workspaces back."""
        self.device.unload(self, stream)


def read_again(compiled: Compiled) -> Program:
    """The program of a compiled one, of which nothing is shared with it."""
    return load_program(compiled.stages["dma"], compiled.machine)


def weight_bytes(program: Program) -> Array:
    """The constants of a program, one after the other, at multiples of 64 bytes."""
    parts: list[Array] = []
    for buffer in program.buffers:
        if buffer.value is not None:
            data = np.ascontiguousarray(array_of(buffer.value)).reshape(-1).view(np.uint8)
            parts += [data, np.zeros(-data.size % 64, np.uint8)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint8)


def workspace_bytes(program: Program) -> int:
    """The room that temporaries need, which share addresses where their lives are apart."""
    outputs = {port.buffer for port in program.outputs}
    spans = [
        (b.address, b.address + b.bytes)
        for b in program.buffers
        if b.kind == "temporary" and b.level == "external" and b.index not in outputs
    ]
    return max((e for _, e in spans), default=0) - min((b for b, _ in spans), default=0)
