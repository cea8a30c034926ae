"""The compiler: passes in their order, and ``compile``, which runs them on a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass, PassPipeline

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.read import read
from kpu_ir.lowering.kernel_to_tile import KernelToTilePass
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.tile_to_dma import TileToDmaPass
from kpu_ir.machine import Machine
from kpu_ir.machine.attr import ATTRIBUTE, machine_of, machine_to_attr
from kpu_ir.passes.external_need import check_external
from kpu_ir.passes.kernel_canonicalize import KernelCanonicalizePass
from kpu_ir.passes.kernel_decompose import KernelDecomposePass
from kpu_ir.passes.kernel_fuse_elementwise import KernelFuseElementwisePass
from kpu_ir.passes.kernel_fusion_candidates import KernelFusionCandidatesPass
from kpu_ir.passes.kernel_layers import LAYER, KernelInlinePass
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.passes.kernel_precision import KernelPrecisionPass
from kpu_ir.passes.kernel_quantize import KernelQuantizePass
from kpu_ir.passes.set_machine import SetMachinePass
from kpu_ir.program.cache import through
from kpu_ir.program.compiled import Compiled, open
from kpu_ir.program.keys import key_of
from kpu_ir.program.options import Fuse, Options, Progress, SearchEffort
from kpu_ir.program.stages import Stage, stage_of
from kpu_ir.registry import context
from kpu_ir.sim.program.coverage import check_coverage
from kpu_ir.sim.program.program import load_program
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import path_of
from kpu_ir.support.lines import a_kind
from kpu_ir.text.places import in_file
from kpu_ir.tuning.choice import Choice
from kpu_ir.tuning.kernel_fuse_by_cost import KernelFuseByCostPass
from kpu_ir.tuning.kernel_pin_l3 import KernelPinL3Pass
from kpu_ir.tuning.kernel_schedule import KernelSchedulePass
from kpu_ir.tuning.objective import Objective
from kpu_ir.tuning.session import session


def passes(options: Options, at: Stage = "kernel", outlined: bool = False) -> list[ModulePass]:
    """The way from a module ``at`` a level to ``dma``; ``outlined``: its kernels are functions
    already."""
    how: dict[str, Any] = {"search": options.search, "objective": options.objective}
    given = options.schedule
    steps: list[ModulePass] = [SetMachinePass(), KernelInlinePass()]
    if at == "kernel" and not outlined:
        steps += [
            KernelQuantizePass(options.quantize, options.requantize),
            KernelCanonicalizePass(),
        ]
        steps.append(KernelPrecisionPass(type=options.precision))
        # One schedule for every product leaves nothing to choose between.
        by_cost = options.fuse == "full" and given is None
        if by_cost:
            steps.append(KernelFuseByCostPass(**how))
        steps += separation(options.fuse)
        if by_cost:
            steps.append(KernelPinL3Pass(**how))
    if at == "kernel":
        steps.append(KernelSchedulePass(**how, products=given is None))
        steps.append(KernelToTilePass(**overrides(given)))
    if at != "dma":
        steps.append(TileToDmaPass())
    return steps


def separation(fuse: Fuse) -> list[ModulePass]:
    """Named kernels decomposed, epilogues fused, each kernel a function of its own."""
    mode = "none" if fuse == "none" else "epilogue"
    return [KernelDecomposePass(), KernelFuseElementwisePass(mode=mode), KernelOutlinePass()]


def kernel_stages(fuse: Fuse) -> list[ModulePass]:
    """The way to functions without a simulation: with ``full`` every group is fused, where
    ``kernel-fuse-by-cost`` would keep those that pay."""
    groups = [KernelFusionCandidatesPass()] if fuse == "full" else []
    return [KernelQuantizePass(), KernelCanonicalizePass(), *groups, *separation(fuse)]


def overrides(schedule: Schedule | None) -> dict[str, Any]:
    """The options of ``kernel-to-tile`` for one schedule for every product."""
    if schedule is None:
        return {}
    values = {f.name: getattr(schedule, f.name) for f in fields(schedule)}
    return {**values, "tile": schedule.tile or None}


def passes_for(module: ModuleOp, options: Options) -> list[ModulePass]:
    """The passes that ``compile`` runs on a module, and ``kpu-opt -p compile``."""
    at = stage_of(module)
    if at != "kernel":
        return passes(options, at)
    named = [op.sym_name.data for op in module.ops if isinstance(op, FuncOp)]
    layers = {
        op.sym_name.data for op in module.ops if isinstance(op, FuncOp) and LAYER in op.attributes
    }
    if "main" not in named:
        raise KpuError(
            f"there is no function @main, only {', '.join(named) or 'nothing'}",
            hint="a program at the kernel level is func.func @main(...) -> (...)",
        )
    return passes(options, at, outlined=set(named) - layers != {"main"})


@dataclass(frozen=True)
class CompilePass(ModulePass):
    """The whole way from a module, wherever it stands, to ``dma``: what ``kpu_ir.compile`` runs.

    ``kpu-opt`` runs and prints its passes one by one.

    Before:
    ```mlir
    func.func @main(%x: tensor<64x64xf32>, %w: tensor<64x64xf32>) -> tensor<64x64xf32> {
      %y = kernel.matmul %x, %w : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
      func.return %y : tensor<64x64xf32>
    }
    ```
    After:
    ```mlir
    func.func @main(%x: memref<64x64xf32>, %w: memref<64x64xf32>) -> memref<64x64xf32> {...}
    func.func private @matmul_0(%a: memref<64x64xf32>, ...) attributes {kpu.schedule = {...}} {
      dma.ring @lhs_l3, 6 x <32x16xf32, l3> at 0
      ...
    }
    ```
    """

    name = "compile"
    fuse: Fuse = "full"
    """Which kernels become one: ``none``, ``epilogue``, or ``full``, where it pays."""
    search: SearchEffort = "quick"
    """How long schedules are looked for."""
    objective: Objective = "cycles"
    """What is to be least."""

    def steps(self, module: ModuleOp) -> list[ModulePass]:
        """The passes for a module."""
        return passes_for(module, Options(self.fuse, self.search, self.objective))

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Run them."""
        with session():
            PassPipeline(tuple(self.steps(op))).apply(ctx, op)


def lower(
    module: ModuleOp,
    machine: Machine,
    options: Options,
    progress: Progress = lambda stage: None,
    choices: list[Choice] | None = None,
) -> dict[Stage, ModuleOp]:
    """Lower a module from where it stands to ``dma``; the module at each level on the way.

    What is decided by simulation is appended to ``choices``.
    """
    module.attributes[ATTRIBUTE] = machine_to_attr(machine)
    at = stage_of(module)
    stages: dict[Stage, ModuleOp] = {}
    ends: dict[str, Stage] = {"kernel-canonicalize": "kernel", "kernel-to-tile": "tile"}

    def watch(before: ModulePass | None, module: ModuleOp, after: ModulePass | None) -> None:
        if before is not None and before.name in ends:
            stages[ends[before.name]] = module.clone()
        elif before is not None and before.name == "kernel-inline":
            stages[at] = module.clone()
        if before is not None and before.name == "kernel-canonicalize":
            check_external(module, machine)
        if before is not None and before.name in ("kernel-to-tile", "tile-to-dma"):
            module.verify()
        if after is not None:
            progress(after.name)

    with session() as here:
        before, here.progress = len(here.choices), progress
        PassPipeline(tuple(passes_for(module, options)), watch).apply(context(), module)
    if choices is not None:
        choices += here.choices[before:]
    stages["dma"] = module
    return stages


def compile(
    source: str | Path | Graph | ModuleOp,
    machine: Machine | str | Path | None = None,
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
    ``Options``. What a path compiles to is kept on disk for the next time (``program/cache.py``), and
    so are schedules, unless ``cache`` is False. A ``.kpu`` file is opened.
    Raises ``KpuError`` for anything wrong with what was given.
    """
    chosen = _options(options, settings)
    if not callable(progress):
        raise KpuError(
            f"progress must be a function, got {a_kind(progress)}", hint="progress=print"
        )
    wanted = None if machine is None else Machine.of(machine)
    if not isinstance(source, str | Path):
        if shapes or fixed:
            raise KpuError(f"{'shapes' if shapes else 'fixed'} are for the file of an ONNX model")
        with session(cache):
            return _build(lambda: module_of(source), wanted, chosen, progress)
    name = str(source)
    if "\n" in name:
        raise KpuError(
            "this is text, not a path", hint="write it to a .mlir file and give its path"
        )
    progress("read")
    if Path(source).suffix == ".kpu":
        if wanted is not None or shapes or fixed or chosen != Options():
            raise KpuError("this program is compiled already", name, "compile the model again")
        return open(source)

    def build() -> Compiled:
        return _build(lambda: read(source, shapes, fixed, values), wanted, chosen, progress, name)

    with session(cache):
        if not cache or not values:  # without their values, programs are not to be mixed up
            return build()
        return through(lambda: key_of(name, shapes, wanted, chosen, fixed=fixed), name, build)


def load(
    path: str | Path, machine: Machine | str | Path | None = None, **settings: Any
) -> Compiled:
    """Compile a model from a file; the rest as for ``compile``."""
    return compile(path_of(path), machine, **settings)


def module_of(source: Any) -> ModuleOp:
    """A module of its own: of a ``Graph``, or a copy of a module."""
    match source:
        case Graph():
            if source.name != "main":
                raise KpuError(f"the graph is called '{source.name}'", hint="a program is Graph()")
            return source.module()
        case ModuleOp():
            return source.clone()
        case _:
            raise KpuError(
                f"cannot compile {a_kind(source)}",
                hint="give the path of a .onnx or .mlir file, a Graph, or a module (ModuleOp)",
            )


def _options(options: Any, settings: Mapping[str, Any]) -> Options:
    if options is not None and not isinstance(options, Options):
        raise KpuError(
            f"options must be an Options, got {a_kind(options)}",
            hint='write kpu_ir.Options(search="full"), or search="full" alone',
        )
    return (options or Options()).with_settings(settings)


def _build(
    source: Callable[[], ModuleOp],
    machine: Machine | None,
    options: Options,
    progress: Progress,
    name: str = "",
) -> Compiled:
    began = time.perf_counter()
    choices: list[Choice] = []
    with in_file(name):
        module = source()
        target, at = machine or machine_of(module), stage_of(module)
        stages = lower(module, target, options, progress, choices)
        program = load_program(stages["dma"], target)
        if at != "kernel":  # somebody may have changed it by hand
            check_coverage(program)
    spent = time.perf_counter() - began
    return Compiled(program, stages, options, spent, name, fusion=tuple(choices))
