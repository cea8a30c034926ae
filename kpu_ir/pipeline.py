"""The way from a model to a program that runs: one readable list of stages.

``compile`` keeps the IR of every stage; a ``Compiled`` program runs for values, for time, or
both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from xdsl.dialects.builtin import DenseResourceAttr, MemRefType, ModuleOp, ShapedType, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass

from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.lowering.kernel_to_tile import TilingStrategy, lower_module, schedule_of
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.tile_to_dma import TileToDmaPass
from kpu_ir.machine import Machine
from kpu_ir.machine.attr import ATTRIBUTE, machine_from_attr, machine_to_attr
from kpu_ir.passes.kernel_canonicalize import KernelCanonicalizePass
from kpu_ir.passes.kernel_decompose import KernelDecomposePass
from kpu_ir.passes.kernel_fuse_elementwise import KernelFuseElementwisePass
from kpu_ir.passes.kernel_fusion_candidates import KernelFusionCandidatesPass
from kpu_ir.passes.kernel_layers import KernelLayersPass, inline_layers
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.registry import context
from kpu_ir.sim.program.program import Program, load_program, port_names
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.model import TimeModel
from kpu_ir.sim.values.values import ValueModel
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import dtype_of
from kpu_ir.tuning.choice import Choice
from kpu_ir.tuning.fusion import decide
from kpu_ir.tuning.pinning import pin
from kpu_ir.tuning.score import Objective
from kpu_ir.tuning.search import Search
from kpu_ir.tuning.session import session

if TYPE_CHECKING:
    from kpu_ir.program.batches import Batch
    from kpu_ir.report.profile import Profile
    from kpu_ir.report.summary import Summary

Array = np.ndarray[Any, np.dtype[Any]]
Stage = Literal["kernel", "tile", "dma"]
Fuse = Literal["none", "epilogue", "full"]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How to compile.

    ``fuse``: ``epilogue`` puts elementwise functions onto what they follow, ``full`` also keeps
    what is between products on chip where the simulator says that it pays (``fusion.py``).
    ``search``: ``none`` takes default schedules, ``quick`` and ``full`` try candidates in the
    simulator.
    """

    fuse: Fuse = "full"
    search: Literal["none", "quick", "full"] = "quick"
    objective: Objective = "cycles"
    schedule: Schedule | None = None
    """One schedule for every product, instead of a choice; nothing but epilogues is fused then."""


def stage_of(module: ModuleOp) -> Stage:
    """The stage that a module stands at, by what its functions hold."""
    names = {op.name.split(".")[0] for op in module.walk()}
    if "dma" in names:
        return "dma"
    return "tile" if "tile" in names else "kernel"


def machine_for(module: ModuleOp, given: Machine | None) -> Machine:
    """The machine that was asked for, else the module's own, else the default."""
    if given is not None:
        return given
    attr = module.attributes.get(ATTRIBUTE)
    return machine_from_attr(attr) if attr is not None else Machine.preset("default")


def kernel_stages(fuse: Fuse) -> list[ModulePass]:
    """What is done at the ``kernel`` stage: afterwards each kernel is a function of its own.
    With ``full`` every group is fused; ``fuse`` would keep those that pay."""
    groups = [KernelFusionCandidatesPass()] if fuse == "full" else []
    return [KernelCanonicalizePass(), *groups, *_separation(fuse), KernelOutlinePass()]


def _separation(fuse: Fuse) -> list[ModulePass]:
    """Named kernels decomposed, epilogues fused."""
    mode = "none" if fuse == "none" else "epilogue"
    return [KernelDecomposePass(), KernelFuseElementwisePass(mode=mode)]


def fuse(
    module: ModuleOp, machine: Machine, options: Options, progress: Progress = lambda stage: None
) -> list[Choice]:
    """Bring a canonical module to the kernels that it will run, each in a ``kernel.fused`` or
    alone; what was decided by simulation."""
    ctx = context()
    choices: list[Choice] = []
    # A schedule for every product leaves nothing to choose between.
    if options.fuse == "full" and options.schedule is None:
        progress("kernel-fusion-candidates")
        KernelFusionCandidatesPass().apply(ctx, module)

        def measure(part: ModuleOp) -> Timing:
            part.attributes[ATTRIBUTE] = machine_to_attr(machine)
            for stage in (*_separation("epilogue"), KernelOutlinePass()):
                stage.apply(ctx, part)
            lower_module(part, chooser(machine, options, progress))
            TileToDmaPass().apply(ctx, part)
            return TimeModel(load_program(part, machine)).run()

        choices = decide(module, measure, options.objective)
    for stage in _separation(options.fuse):
        stage.apply(ctx, module)
    return choices


def lower(
    module: ModuleOp,
    machine: Machine,
    options: Options,
    progress: Progress = lambda stage: None,
    choices: list[Choice] | None = None,
) -> dict[Stage, ModuleOp]:
    """Lower a module from where it stands to ``dma``; the module at each stage on the way.

    What is decided by simulation is appended to ``choices``.
    """
    choices = [] if choices is None else choices
    module.attributes[ATTRIBUTE] = machine_to_attr(machine)
    inline_layers(module)
    at = stage_of(module)
    stages: dict[Stage, ModuleOp] = {at: module.clone()}
    ctx = context()

    def run(stage: ModulePass, module: ModuleOp) -> None:
        progress(stage.name)
        stage.apply(ctx, module)

    if at == "kernel":
        functions = [f.sym_name.data for f in module.ops if isinstance(f, FuncOp)]
        if "main" not in functions:
            raise KpuError(
                f"there is no function @main, only {', '.join(functions) or 'nothing'}",
                hint="a program at the kernel stage is func.func @main(...) -> (...)",
            )
        if functions == ["main"]:
            run(KernelCanonicalizePass(), module)
            stages["kernel"] = module.clone()
            progress("fuse")
            choices += fuse(module, machine, options, progress)
            run(KernelOutlinePass(), module)
            look_ahead(module, machine, options, progress)
            if options.fuse == "full" and options.schedule is None:
                progress("kernel-pin-l3")
                choose = chooser(machine, options, progress)
                choices += pin(module, machine, choose, options.objective)
        progress("kernel-to-tile")
        lower_module(module, chooser(machine, options, progress))
        module.verify()
        stages["tile"] = module.clone()
    if at in ("kernel", "tile"):
        run(TileToDmaPass(), module)
        module.verify()
    stages["dma"] = module
    return stages


def look_ahead(module: ModuleOp, machine: Machine, options: Options, progress: Progress) -> None:
    """Find the schedules of all kernels of an outlined module at once, on every processor."""
    if options.search == "none" or options.schedule is not None:
        return
    funcs = [op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data != "main"]
    free = [func for func in funcs if "kpu.schedule" not in func.attributes]
    progress(f"schedules of {len(free)} kernels")
    Search(machine, options.objective, options.search).prepare(free)


def chooser(
    machine: Machine, options: Options, progress: Progress
) -> Callable[[FuncOp, TilingStrategy], Schedule]:
    """How each kernel gets its schedule."""
    search = None
    if options.search != "none":
        search = Search(machine, options.objective, options.search)

    def choose(func: FuncOp, strategy: TilingStrategy) -> Schedule:
        given = options.schedule
        if "kpu.schedule" in func.attributes:
            chosen = schedule_of(func, strategy, machine)
        elif given is not None and strategy.kind == "contraction":
            chosen = given if given.tile else replace(given, tile=strategy.default(machine).tile)
        elif search is None:
            chosen = schedule_of(func, strategy, machine)
        else:
            progress(f"schedule of @{func.sym_name.data}")
            chosen = search.choose(func, strategy)
        return chosen

    return choose


def ports(module: ModuleOp) -> list[tuple[str, ShapedType]] | None:
    """Names and types of the inputs of ``@main``; None for a lone kernel, which returns nothing."""
    for func in module.ops:
        if not isinstance(func, FuncOp) or func.sym_name.data != "main":
            continue
        if func.function_type.outputs.data:
            types = list(func.function_type.inputs)
            attrs = func.arg_attrs.data if func.arg_attrs else None
            hints = [a.name_hint for a in func.body.block.args] or [None] * len(types)
            names = port_names(attrs, hints, "arg")
            return [(n, t) for n, t in zip(names, types) if isinstance(t, ShapedType)]
    return None


def check_inputs(
    expected: Sequence[tuple[str, ShapedType]], inputs: Mapping[str, Any], nan: bool = True
) -> dict[str, Array]:
    """``inputs`` as arrays of the expected names, shapes and types.

    Raises ``KpuError`` that names the first one that is missing, unknown, not as expected or,
    without ``nan``, has NaNs.
    """
    names = [name for name, _ in expected]
    for name in inputs:
        if name not in names:
            known = ", ".join(names) or "none"
            raise KpuError(f"there is no input '{name}'", hint=f"inputs: {known}")
    return {name: _checked(name, type, inputs, nan) for name, type in expected}


def _checked(name: str, type: ShapedType, inputs: Mapping[str, Any], nan: bool) -> Array:
    assert isinstance(type, TensorType | MemRefType)
    shape, dtype = tuple(type.get_shape()), dtype_of(type.element_type)
    wanted = f"{dtype} of shape {shape}"
    if name not in inputs:
        raise KpuError(f"input '{name}' is missing", hint=f"give an array: {wanted}")
    array = np.asarray(inputs[name])
    if array.shape != shape:
        raise KpuError(
            f"input '{name}': expected shape {shape}, got {array.shape}",
            hint="reshape the array, or compile for its shape",
        )
    if array.dtype.kind not in "biufV" or array.dtype.fields:
        raise KpuError(f"input '{name}': expected {dtype}, got {array.dtype}")
    if array.dtype != dtype:
        array = _converted(name, array, dtype)
    if not nan and dtype.kind in "fV" and np.isnan(array.astype(np.float32)).any():
        raise KpuError(f"input '{name}' has NaNs", hint="check where the data comes from")
    return array


def _converted(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """Another type's array, if each value survives: whole numbers exactly, others rounded."""
    if array.dtype.type is np.void:  # the bytes of a type of ml_dtypes, as .npz files have them
        if array.dtype.itemsize != dtype.itemsize or dtype.kind not in "Vf":
            raise KpuError(f"input '{name}': expected {dtype}, got {array.dtype}")
        return array.view(dtype)
    with np.errstate(all="ignore"):
        new = array.astype(dtype)
        kept = bool((new.astype(array.dtype) == array).all())
        finite = bool((np.isfinite(new.astype(np.float64)) == np.isfinite(array)).all())
    if (not kept and (array.dtype.kind != "f" or dtype.kind in "biu")) or not finite:
        raise KpuError(
            f"input '{name}': expected {dtype}, and its {array.dtype} values do not fit in it",
            hint=f"convert it: array.astype('{dtype}')",
        )
    return new


@dataclass
class Compiled:
    """A compiled program.

    Call it with inputs by name; ask it for ``cycles``, ``timing``, ``summary()``, ``ir("tile")``.
    """

    program: Program
    stages: Mapping[Stage, ModuleOp]
    options: Options
    compile_seconds: float
    source: str = ""
    fusion: tuple[Choice, ...] = ()
    """What was fused, what was not, and what the other way would have cost."""
    _timings: dict[bool, Timing] = field(default_factory=dict[bool, Timing])

    @property
    def machine(self) -> Machine:
        """The machine that it is compiled for."""
        return self.program.machine

    @cached_property
    def _values(self) -> ValueModel:
        return ValueModel(self.program)

    @property
    def timing(self) -> Timing:
        """Cycles, and where they went (closed form)."""
        return self.time(fast_forward=True)

    def time(self, fast_forward: bool = True) -> Timing:
        """Cycles by repetition, or stepped operation by operation; both are equal."""
        if fast_forward not in self._timings:
            self._timings[fast_forward] = TimeModel(self.program, fast_forward).run()
        return self._timings[fast_forward]

    @property
    def cycles(self) -> int:
        """Base cycles from a cold machine to the last byte written."""
        return self.timing.cycles

    def ir(self, stage: Stage, elide: int | None = 16) -> str:
        """The IR at an stage; constants of more than ``elide`` elements are left out. At
        ``kernel``, equal layers are written once (``kernel-layers``)."""
        from kpu_ir.text.printing import print_module

        if stage not in self.stages:
            raise KpuError(
                f"this program has no {stage} IR", hint=f"it has: {', '.join(self.stages)}"
            )
        module = self.stages[stage]
        if stage == "kernel":
            module = module.clone()
            KernelLayersPass().apply(context(), module)
        return print_module(module, elide)

    def checked(self, inputs: Mapping[str, Any], nan: bool = True) -> dict[str, Array]:
        """``check_inputs`` against the program's."""
        return check_inputs([(p.name, p.type) for p in self.program.inputs], inputs, nan)

    def __call__(
        self, inputs: Mapping[str, Any] | None = None, /, **named: Any
    ) -> dict[str, Array]:
        """Outputs by name, computed on the simulated machine."""
        return self._values.run(self.checked({**(inputs or {}), **named}))

    run = __call__

    def summary(self) -> Summary:
        """Every figure of a run, as ``kpu-run --json`` has them (no values are computed)."""
        from kpu_ir.report.summary import summarise

        began = time.perf_counter()
        return summarise(self, self.timing, time.perf_counter() - began)

    @property
    def stats(self) -> Summary:
        """``summary()``."""
        return self.summary()

    def profile(self) -> Profile:
        """A row for every kernel call; their cycles add up to the run's (docs/profile.md)."""
        from kpu_ir.report.profile import Profile

        return Profile.of(self.summary())

    def map(self, batch: Batch, progress: bool | None = None) -> Iterator[dict[str, Array]]:
        """Outputs of each item of ``batch``, one by one: see ``batches.run_batch``."""
        from kpu_ir.program.batches import run_batch

        return run_batch(self, batch, progress)

    def run_many(self, batch: Batch, progress: bool | None = None) -> list[dict[str, Array]]:
        """Outputs of all items of ``batch``, as ``map`` yields them."""
        return list(self.map(batch, progress))

    def save(self, path: str | Path) -> None:
        """Write program, weights, machine and options to one file, for ``kpu_ir.open``."""
        from kpu_ir.program.saved import save

        save(self, path)

    def report(self, path: str | Path) -> None:
        """Write a page on the run: what ``kpu-run --report`` writes (no values are computed)."""
        from kpu_ir.report.command import command_of
        from kpu_ir.report.html import write_report

        write_report(self, self.summary(), path, command_of(self, "--report", str(path)))

    def _repr_html_(self) -> str:
        from kpu_ir.report.screen import html

        return html(self.summary())

    @property
    def has_reference(self) -> bool:
        """Whether there is kernel IR with all of its values."""
        return "kernel" in self.stages and not lacks_values(self.stages["kernel"])

    def reference(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Outputs by name, computed by the NumPy reference of the ``kernel`` stage."""
        if not self.has_reference:
            raise KpuError(
                "there is no kernel IR with values to compare with", hint="start from kernel IR"
            )
        results = evaluate(self.stages["kernel"], list(self.checked(inputs).values()))
        return dict(zip((p.name for p in self.program.outputs), results))


def lacks_values(module: ModuleOp) -> bool:
    """Whether constants of a module have a type alone: it can be timed, not run."""
    return any(
        isinstance(value, DenseResourceAttr)
        for op in module.walk()
        for value in op.properties.values()
    )


def read(
    source: str | Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    values: bool = True,
) -> ModuleOp:
    """A module from an ``.onnx`` or ``.mlir`` file. Raises ``KpuError`` for what is neither.

    Of an ONNX model: ``shapes`` of inputs, or extents of named dimensions; ``fixed`` values of inputs,
    which are inputs no more; without ``values``, weights that are not there have a type alone.
    """
    from kpu_ir.text.parsing import load_module

    path = Path(source)
    if path.is_dir():
        raise KpuError("expected a file, got a folder", str(path))
    if not path.exists():
        raise KpuError("there is no such file", str(path))
    if path.suffix == ".mlir":
        module = load_module(path, context())
        foreign = ("linalg.", "tensor.", "builtin.unregistered")
        if any(op.name.startswith(foreign) for op in module.walk()):
            from kpu_ir.frontends.linalg import linalg_to_kernel

            linalg_to_kernel(module)
        return module
    if path.suffix == ".onnx":
        from kpu_ir.frontends.onnx import import_onnx

        given = {name: np.asarray(value) for name, value in (fixed or {}).items()}
        try:
            return import_onnx(path, dict(shapes or {}), given, values)
        except KpuError as error:
            error.where = error.where or str(path)
            raise
    raise KpuError(
        f"cannot tell what kind of file this is by '{path.suffix}'",
        str(path),
        "give a .onnx model or a .mlir module",
    )


def compile(
    source: Any,
    machine: Machine | str | None = None,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    values: bool = True,
    progress: Progress = lambda stage: None,
    options: Options | None = None,
    cache: bool = True,
    **settings: Any,
) -> Compiled:
    """Compile a model: a path (``.onnx``, ``.mlir``), a ``Graph`` or a module.

    ``shapes``, ``fixed`` and ``values`` are for ONNX models, as ``read`` has them.
    ``machine`` is a ``Machine``, a preset's name or a TOML file. ``settings`` are the fields of
    ``Options``. What a path compiles to is kept on disk for the next time (``compile_cache.py``), and
    so are schedules, unless ``cache`` is False. A ``.kpu`` file is opened.
    Raises ``KpuError`` for anything wrong with what was given.
    """
    began = time.perf_counter()
    chosen = options or Options()
    chosen = replace(chosen, **settings) if settings else chosen
    wanted = Machine.load(machine) if isinstance(machine, str) else machine
    name = ""
    if isinstance(source, str | Path):
        name = str(source)
        progress("read")
        if Path(source).suffix == ".kpu":
            from kpu_ir.program.saved import open

            if wanted is not None or shapes or fixed or chosen != Options():
                raise KpuError("this program is compiled already", name, "compile the model again")
            return open(source)
        if cache and values:  # without their values, programs are soon made and not to be mixed up
            from kpu_ir.program.cache import key_of, through

            with session():
                return through(
                    lambda: key_of(name, shapes, wanted, chosen, fixed=fixed),
                    name,
                    lambda: compile(
                        source,
                        wanted,
                        shapes=shapes,
                        fixed=fixed,
                        progress=progress,
                        options=chosen,
                        cache=False,
                    ),
                )
        module = read(source, shapes, fixed, values)
    elif isinstance(source, ModuleOp):
        module = source.clone()
    elif hasattr(source, "module"):
        module = source.module()
    else:
        kind = type(source).__name__
        raise KpuError(f"cannot compile a {kind}", hint="a path, a Graph or a module")
    target = machine_for(module, wanted)
    choices: list[Choice] = []
    with session(cache):
        stages = lower(module, target, chosen, progress, choices)
        program = load_program(stages["dma"], target)
    spent = time.perf_counter() - began
    return Compiled(program, stages, chosen, spent, name, fusion=tuple(choices))


def load(path: str | Path, machine: Machine | str | None = None, **settings: Any) -> Compiled:
    """Compile a model from a file; the rest as for ``compile``."""
    return compile(Path(path), machine, **settings)


__all__ = ["Compiled", "Options", "compile", "load", "lower", "read", "stage_of"]
