"""What ``kpu-run`` runs: a program that is saved, kept or compiled now, on which machine, and its inputs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from kpu_ir.support.errors import KpuError
from kpu_ir.tools.run_options import fixed_of, shapes_of

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp, ShapedType

    from kpu_ir.machine import Machine
    from kpu_ir.program.compiled import Compiled
    from kpu_ir.program.options import Options
    from kpu_ir.program.stages import Stage
    from kpu_ir.sim.program.program import Program


def random_inputs(program: Program, seed: int) -> dict[str, Any]:
    """Seeded inputs: normal floats, small non-negative integers."""
    from kpu_ir.interpreters.arguments import drawn

    return drawn(((port.name, port.type) for port in program.inputs), seed)


@contextmanager
def progress(quiet: bool) -> Generator[Callable[[str], None]]:
    """A line on stderr on what is being done, if that takes over two seconds on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage: None
        return
    from threading import Timer

    from rich.console import Console

    from kpu_ir.report.words import words

    status = Console(stderr=True, markup=False).status("reading")
    timer = Timer(2, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda stage: status.update(words(stage))
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def check_level(args: argparse.Namespace, at: Stage) -> None:
    """Refuse options for stages that the module has behind it."""
    for option in (
        "fuse",
        "search",
        "objective",
        "quantize",
        "requantize",
        "precision",
        "schedule",
    ):
        if at != "kernel" and getattr(args, option):
            raise KpuError(f"--{option} does nothing for {at} IR: its schedule is fixed")


@contextmanager
def placed(file: str) -> Generator[None]:
    """Errors get the file's name before the node's, and the line that they are about, where they do
    not have them yet."""
    from kpu_ir.text.places import in_file

    try:
        with in_file(file):
            yield
    except KpuError as e:
        if e.where is None or (file not in e.where and e.where.startswith(INSIDE)):
            where = f"{file}: {e.where}" if e.where else file
            raise KpuError(e.message, where, e.hint) from None
        raise


INSIDE = ("node", "the node", "tensor", "@")
"""How places within a model begin."""


class Wanted(NamedTuple):
    """What is to be compiled a model's own way aside."""

    shapes: dict[str, tuple[int, ...]]
    fixed: dict[str, Any]
    options: Options
    machine: Machine | None

    def key(self, args: argparse.Namespace) -> str | None:
        """What the compile cache has the program under; None if it does not keep it."""
        if args.no_cache or args.file == "-":  # read once
            return None
        from kpu_ir.program.keys import key_of

        shapes, fixed, options, machine = self
        return key_of(args.file, shapes, machine, options, args.settings, fixed)


def wanted_of(args: argparse.Namespace) -> Wanted:
    """What the options ask to be compiled, checked."""
    from dataclasses import replace

    from kpu_ir.machine import Machine
    from kpu_ir.program.options import Options

    shapes = shapes_of(args.shape)
    ir = args.file == "-" or args.file.endswith(".mlir")
    if shapes and ir:
        raise KpuError("--shape does nothing for IR: its shapes are fixed", args.file)
    fixed = fixed_of(args.fixed) if args.fixed else {}
    if fixed and ir:
        raise KpuError("--input does nothing for IR", args.file, "give all inputs: --inputs F.npz")
    names = ("fuse", "search", "objective", "quantize", "requantize", "precision")
    options = Options(**{name: getattr(args, name) for name in names if getattr(args, name)})
    if args.schedule is not None:
        from kpu_ir.lowering.schedule import Schedule

        options = replace(options, schedule=Schedule.from_text(args.schedule, "--schedule"))
    machine = Machine.load(args.machine) if args.machine else None
    return Wanted(shapes, fixed, options, machine)


def obtain(
    args: argparse.Namespace, say: Callable[[str], None], wanted: Wanted
) -> tuple[Compiled, dict[str, Any] | None]:
    """The program, saved or kept or compiled now, and the inputs that were given, checked."""
    from kpu_ir.program.arrays import ArrayFile, check_names
    from kpu_ir.program.cache import through
    from kpu_ir.program.compiled import open
    from kpu_ir.program.inputs import check_inputs, ports

    elided = False
    file = ArrayFile(args.inputs) if args.inputs else None

    def check(
        expected: Sequence[tuple[str, ShapedType]] | None,
        given: dict[str, Any] | None,
        nan: bool = True,
    ) -> None:
        if given is None or expected is None:
            return
        try:
            if args.batch:
                check_items(expected, given, nan)
            else:
                check_inputs(expected, given, nan)
        except KpuError as e:
            place = f"{args.inputs}: {e.where}" if e.where else args.inputs
            raise KpuError(e.message, place, e.hint) from None

    def build() -> Compiled:
        from kpu_ir.frontends.read import read
        from kpu_ir.pipeline import compile
        from kpu_ir.program.stages import lacks_values, stage_of

        nonlocal elided
        with placed(args.file):
            module = read(args.file, wanted.shapes, wanted.fixed, values=not args.no_values)
        elided = args.no_values and args.file.endswith(".onnx") and lacks_values(module)
        check_level(args, stage_of(module))
        # Shapes and types, before the compilation, which takes longer.
        check(ports(module), file.stand_ins() if file else None)
        machine, cached = target(args, module, wanted.machine), not args.no_cache
        with placed(args.file):
            return compile(module, machine, progress=say, options=wanted.options, cache=cached)

    def key() -> str | None:
        # A program without its weights is not that of the model.
        return None if elided else wanted.key(args)

    if args.file.endswith(".kpu"):
        compiled = open(args.file)
    else:
        compiled = through(key, args.file, build)
        check_level(args, next(iter(compiled.stages)))
    compiled.source = args.file
    expected = [(port.name, port.type) for port in compiled.program.inputs]
    check(expected, file.stand_ins() if file else None)
    given = file.read() if file else None
    check(expected, given, nan=False)
    if args.outputs:
        check_names({port.name: port for port in compiled.program.outputs}, args.outputs)
    return compiled, given


def check_items(
    expected: Sequence[tuple[str, ShapedType]], given: dict[str, Any], nan: bool
) -> None:
    """Refuse a batch that is empty, or with an item that is not as expected."""
    from kpu_ir.program.batches import split
    from kpu_ir.program.inputs import check_inputs

    items = split(expected, given)
    if not items:
        raise KpuError("there are no items to run")
    for number, item in enumerate(items):
        try:
            check_inputs(expected, item, nan)
        except KpuError as e:
            raise KpuError(e.message, f"item {number}", e.hint) from None


def target(args: argparse.Namespace, module: ModuleOp, given: Machine | None) -> Machine:
    """The machine that was asked for."""
    from kpu_ir.machine.attr import machine_of

    machine = given or machine_of(module)
    for cost in () if args.without is None else args.without.split(","):
        if cost not in machine.costs:
            what = f"machine '{machine.name}' has no such cost"
            has = ", ".join(machine.costs) or "none"
            raise KpuError(f"--without {cost} does nothing: {what}", hint=f"its costs: {has}")
    try:
        return machine.with_settings(args.settings)
    except KpuError as e:
        raise KpuError(e.message, e.where or "--set", e.hint) from None
