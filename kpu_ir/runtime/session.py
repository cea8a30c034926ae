"""Models as ONNX Runtime's sessions run them: names in, names out, with input and output bindings.

``Session(path)`` compiles a model for a device and loads it. What our importer lacks can run on the host
(``fallback="host"``), with the copies that this costs; which nodes these are is said on stderr.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kpu_ir.frontends.python.calls import for_people, located
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.inputs import by_name, check_inputs
from kpu_ir.runtime.base import Array
from kpu_ir.runtime.buffers import View
from kpu_ir.runtime.device import Device
from kpu_ir.runtime.launching import launch
from kpu_ir.runtime.loaded import LoadedProgram
from kpu_ir.runtime.segments import Segment, segments
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import allowed
from kpu_ir.support.types import dtype_of

TYPES = {
    "float32": "float", "float64": "double", "float16": "float16", "bfloat16": "bfloat16",
    "bool": "bool",
}  # fmt: skip


PROVIDERS = ("KpuExecutionProvider", "CPUExecutionProvider")
"""Who runs nodes: the device, and the host where the device does not."""


@dataclass(frozen=True)
class NodeArg:
    """An input or output: its ``name``, ``shape`` and ``type`` (``tensor(float)``)."""

    name: str
    shape: list[int]
    type: str


@dataclass
class _Part:
    """A segment, ready to run."""

    inputs: list[str]
    outputs: list[str]
    program: LoadedProgram | None
    host: Callable[[Mapping[str, Array]], dict[str, Array]] | None
    nodes: tuple[str, ...] = ()
    """What runs on the host."""


@for_people
class IOBinding:
    """Where a session's inputs come from and its outputs go to. ``session.io_binding`` makes it."""

    def __init__(self, session: Session) -> None:
        """Nothing is bound."""
        self.session = session
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, View | None] = {}
        self.results: dict[str, View] = {}

    def bind_cpu_input(self, name: str, array: Any) -> None:
        """An array of the host, copied at each run."""
        self.inputs[self.session.known(name, True)] = np.asarray(array)

    def bind_input(self, name: str, view: View) -> None:
        """What stands on the device already."""
        self.inputs[self.session.known(name, True)] = view

    def bind_output(self, name: str, view: View | None = None) -> None:
        """To a view on the device, or to a new one."""
        self.outputs[self.session.known(name, False)] = view

    def get_outputs(self) -> list[View]:
        """Where the outputs are, in the order in which they were bound."""
        return [self.results[name] for name in self.outputs]

    def copy_outputs_to_cpu(self) -> list[Array]:
        """The outputs' values, copied over the link."""
        stream = self.session.stream
        return [
            view.copy_to(np.empty(view.shape or (), view.dtype), stream=stream)
            for view in self.get_outputs()
        ]

    def synchronize_outputs(self) -> None:
        """The host waits for the outputs."""
        self.session.stream.sync()


@for_people
class Session:
    """A model on a device."""

    @located
    def __init__(
        self,
        model: Any,
        device: Device | None = None,
        *,
        fallback: Literal["host"] | None = None,
        providers: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        """``model``: what ``compile`` takes, or a program that was compiled for the device. ``options``: as ``compile``
        takes them. Raises ``KpuError`` for a model that does not load; with ``fallback="host"`` nodes
        that we lack run on the host. ``providers``: the same in ONNX Runtime's words (``PROVIDERS``)."""
        if providers is not None:
            if list(providers) not in ([PROVIDERS[0]], list(PROVIDERS)):
                raise KpuError(
                    f"providers must be {PROVIDERS[0]}, and {PROVIDERS[1]} after it or not, "
                    f"got {list(providers)}"
                )
            fallback = "host" if PROVIDERS[1] in providers else fallback
        if fallback not in (None, "host"):
            raise KpuError(f"fallback must be None or 'host', got {fallback!r}")
        self.device = device or Device()
        self.stream = self.device.create_stream()
        self.parts: list[_Part] = []
        self.fallback: list[str] = []
        """The nodes that run on the host."""
        if fallback is None or isinstance(model, Compiled):
            compiled = (
                model if isinstance(model, Compiled) else self.device.compile(model, **options)
            )
            program = self.device.load(compiled, stream=self.stream)
            inputs, outputs = program.program.inputs, program.program.outputs
            names = [p.name for p in inputs], [p.name for p in outputs]
            self.parts.append(_Part(*names, program, None))
            self._inputs = [(p.name, _type(p.type)) for p in inputs]
            self._outputs = [(p.name, _type(p.type)) for p in outputs]
            return
        if not isinstance(model, str | Path) or Path(model).suffix != ".onnx":
            raise KpuError("a fallback is for the file of an ONNX model", hint="leave it out")
        self._in_parts(model, options)

    def _in_parts(self, path: str | Path, options: Mapping[str, Any]) -> None:
        import onnx

        model = onnx.load(str(path))
        for part in segments(model):
            if part.on_host:
                self.fallback += part.nodes
                self.parts.append(
                    _Part(part.inputs, part.outputs, None, _on_host(part), part.nodes)
                )
                continue
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"{part.model.graph.name}.onnx"
                onnx.save(part.model, file)
                compiled = self.device.compile(file, **options)
            program = self.device.load(compiled, stream=self.stream)
            self.parts.append(_Part(part.inputs, part.outputs, program, None))
        given = {t.name for t in model.graph.initializer}
        self._inputs = [(i.name, _declared(i)) for i in model.graph.input if i.name not in given]
        self._outputs = [(o.name, _declared(o)) for o in model.graph.output]
        if self.fallback:
            print(
                f"fallback: {len(self.fallback)} of the nodes run on the host: "
                f"{', '.join(self.fallback)}; what they take there is not counted, the copies are",
                file=sys.stderr,
            )

    def __repr__(self) -> str:
        return f"<Session: {len(self.parts)} parts on {self.device!r}>"

    def get_inputs(self) -> list[NodeArg]:
        """Names, shapes and types of what it takes."""
        return [NodeArg(name, list(shape), text) for name, (shape, text) in self._inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Names, shapes and types of what it gives."""
        return [NodeArg(name, list(shape), text) for name, (shape, text) in self._outputs]

    def get_providers(self) -> list[str]:
        """Who runs it, as ONNX Runtime calls such."""
        return list(PROVIDERS[: 1 + bool(self.fallback)])

    def known(self, name: str, is_input: bool) -> str:
        """A name that there is. Raises ``KpuError``."""
        names = [n for n, _ in (self._inputs if is_input else self._outputs)]
        if name not in names:
            what = "input" if is_input else "output"
            raise KpuError(f"there is no {what} '{name}'", hint=allowed(name, names, f"{what}s"))
        return name

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> list[Array]:
        """The outputs of these names, or all; inputs by name."""
        binding = self.io_binding()
        feeds = by_name([name for name, _ in self._inputs], input_feed)
        for name, values in feeds.items():
            binding.bind_cpu_input(name, values)
        for name in output_names or [name for name, _ in self._outputs]:
            binding.bind_output(name)
        self.run_with_iobinding(binding)
        results = binding.copy_outputs_to_cpu()
        for view in binding.get_outputs():
            view.close(stream=self.stream)
        return results

    def io_binding(self) -> IOBinding:
        """Where inputs come from and outputs go to, to be said."""
        return IOBinding(self)

    def run_with_iobinding(self, binding: IOBinding) -> None:
        """Run it on what is bound. The host does not wait, but where it runs nodes itself."""
        for name, _ in self._inputs:
            if name not in binding.inputs:
                raise KpuError(f"input '{name}' is not bound")
        values: dict[str, Any] = dict(binding.inputs)
        for part in self.parts:
            values.update(self._run(part, values, binding.outputs))
        for name, target in binding.outputs.items():
            found = values[name]
            if not isinstance(found, View):  # made on the host
                if target is None:
                    target = self.device.empty(found.shape, found.dtype, stream=self.stream)
                target.copy_from(found, stream=self.stream)
                found = values[name] = target
            binding.results[name] = found
        kept = [*binding.inputs.values(), *binding.results.values()]
        for value in values.values():
            if isinstance(value, View) and not any(value is other for other in kept):
                value.close(stream=self.stream)

    def _run(
        self, part: _Part, values: dict[str, Any], bound: Mapping[str, View | None]
    ) -> dict[str, Any]:
        """One part: what it makes, on its side."""
        if part.program is None:
            assert part.host is not None
            for node in part.nodes:
                self.device.timeline.totals.row(f"on the host: {node}").count += 1
            return part.host({name: self._there(values[name]) for name in part.inputs})
        ports = [(p.name, p.type) for p in part.program.program.inputs]
        arrays = {n: v for n, v in values.items() if n in dict(ports) and not isinstance(v, View)}
        checked = check_inputs([(n, t) for n, t in ports if n in arrays], arrays)
        for name, array in checked.items():
            values[name] = self.device.array(array, stream=self.stream)
        made: dict[str, Any] = {}
        for port in part.program.program.outputs:
            dtype, shape = dtype_of(port.type.element_type), tuple(port.type.get_shape())
            made[port.name] = bound.get(port.name) or self.device.empty(
                shape, dtype, stream=self.stream
            )
        launch(self.stream, part.program, **{n: values[n] for n, _ in ports}, **made)
        return made

    def _there(self, value: Any) -> Array:
        """On the host."""
        if isinstance(value, View):
            return value.copy_to(np.empty(value.shape or (), value.dtype), stream=self.stream)
        return value


def _type(kind: Any) -> tuple[tuple[int, ...], str]:
    dtype = str(dtype_of(kind.element_type))
    return tuple(kind.get_shape()), f"tensor({TYPES.get(dtype, dtype)})"


def _declared(info: Any) -> tuple[tuple[int, ...], str]:
    import onnx

    kind = info.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return tuple(d.dim_value for d in kind.shape.dim), f"tensor({TYPES.get(dtype, dtype)})"


def _on_host(part: Segment) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """A part by onnxruntime, where it is there, else by ONNX's reference."""
    try:
        import onnxruntime

        session = onnxruntime.InferenceSession(part.model.SerializeToString())
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(part.model)
    return lambda feeds: dict(zip(part.outputs, session.run(part.outputs, dict(feeds))))
