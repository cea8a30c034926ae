"""``kpu-run``: compile a model, simulate it, compare, and say where the time went."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kpu_ir.support.errors import KpuError
from kpu_ir.support.names import shortened, shown
from kpu_ir.support.numbers import whole_number
from kpu_ir.tools.guard import guarded

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp, ShapedType

    from kpu_ir.machine import Machine
    from kpu_ir.program.against import Against
    from kpu_ir.program.compiled import Compiled
    from kpu_ir.program.options import Options
    from kpu_ir.program.stages import Stage
    from kpu_ir.report.summary import Summary
    from kpu_ir.sim.program.program import Program


def parser() -> argparse.ArgumentParser:
    """The options. What has no default of its own here is None unless it was given."""
    p = argparse.ArgumentParser(
        "kpu-run", description="Compile a model, simulate it with real data, compare and explain."
    )

    def option(name: str, help: str, **more: Any) -> None:
        p.add_argument(name, help=help, **more)

    option(
        "file",
        "a .onnx model, a .mlir module at any level, or a saved .kpu program; - is standard "
        "input, of IR",
    )
    option("--inputs", "arrays by input name (default: seeded random ones)", metavar="F.npz")
    option("--outputs", "write the outputs here", metavar="F.npz")
    option("--batch", "--inputs hold many items, stacked or along their first axis; so do --outputs",
           action="store_true")  # fmt: skip
    option("--compare", "run layer by layer against onnxruntime and name the first that differs",
           action="store_true")  # fmt: skip
    option("--against", "compare the outputs with those of the program that this one was made from: "
           "a .mlir, .onnx or .kpu file", metavar="FILE")  # fmt: skip
    option("--tolerance", "with --compare, --against: of the largest value (default: 1e-4; more for "
           "short floats, 0 for integers)", type=float)  # fmt: skip
    option("--seed", "of the random inputs (default: 0)", metavar="N")
    option("--machine", "a preset or a TOML file (default: the module's own, or 'default')")
    option("--set", "change one value of the machine, as l2.banks=4", action="append", default=[],
           metavar="KEY=VALUE", dest="settings")  # fmt: skip
    option("--without", "spare the machine some costs of hardware, as bursts,refresh (docs/timing.md)",
           metavar="COST,...")  # fmt: skip
    option("--shape", "the shape of an input, or a named dimension's extent (batch=1)",
           action="append", default=[], metavar="NAME=1x128")  # fmt: skip
    option("--input", "a value for an input, which then is none: a number, numbers by commas, or a "
           ".npy file", action="append", default=[], metavar="NAME=VALUE", dest="fixed")  # fmt: skip
    option("--no-values", "time only; weights that are not there need not be", action="store_true")
    option("--stepped", "step every operation instead of fast-forwarding", action="store_true")
    option("--emit", "print the IR at a level and stop", choices=["kernel", "tile", "dma"])
    option("--elide", "with --emit: leave out constants of more than N elements (default: 16), "
           "or 'none' of them", metavar="N")  # fmt: skip
    option("--json", "print one JSON object", action="store_true")
    option("--profile", "a row for every layer; their cycles add up", action="store_true")
    option("--layers", "with --profile: only layers whose name or kernel matches, as '*fc*'",
           metavar="GLOB")  # fmt: skip
    option("--save", "write the compiled program, which kpu-run and kpu_ir.open read",
           metavar="F.kpu")  # fmt: skip
    option("--no-cache", "compile, even if the same was compiled before", action="store_true")
    option("--trace", "write every operation for Perfetto (ui.perfetto.dev)", metavar="F.json")
    option("--trace-window", "with --trace: only what falls into these cycles", metavar="FROM:TO")
    option("--report", "write a page on the run: roofline, stalls, critical path, IR",
           metavar="F.html")  # fmt: skip
    option("--fuse", "which kernels become one (default: full, where it pays)",
           choices=["none", "epilogue", "full"])  # fmt: skip
    option("--search", "how long to look for schedules (default: quick)",
           choices=["none", "quick", "full"])  # fmt: skip
    option("--objective", "what schedules are chosen by (default: cycles)",
           choices=["cycles", "bytes", "energy", "edp"])  # fmt: skip
    option("--schedule", "one schedule for every product, as 'tile=64,64,64 dataflow=ws' (the options of "
           "kernel-to-tile) or a JSON object", metavar="KEY=VALUE...")  # fmt: skip
    return p


def shapes_of(settings: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """``["x=1x128"]`` as ``{"x": (1, 128)}``."""
    found: dict[str, tuple[int, ...]] = {}
    for setting in settings:
        name, sign, text = setting.rpartition("=")
        extents = [whole_number(n) for n in text.split("x")] if text else []
        known = [n for n in extents if n is not None]
        if not sign or not name or len(known) < len(extents):
            raise KpuError(
                f"--shape '{shortened(setting)}' is not a shape", hint="write name=1x128"
            )
        found[name] = tuple(known)
    return found


def fixed_of(settings: Sequence[str]) -> dict[str, Any]:
    """``["rate=16000"]`` as ``{"rate": array(16000)}``."""
    import numpy as np

    from kpu_ir.program.arrays import read_array

    found: dict[str, Any] = {}
    for setting in settings:
        name, sign, text = setting.partition("=")
        words = {"true": 1, "false": 0}
        try:
            if not sign or not name or not text:
                raise ValueError
            if text.endswith(".npy"):
                found[name] = read_array(text)
                continue
            parts = [words.get(part.strip().lower(), part) for part in text.split(",")]
            whole = all(re.fullmatch(r"[+-]?\d{1,19}", str(part).strip()) for part in parts)
            numbers = [int(part) if whole else float(part) for part in parts]
            found[name] = np.array(numbers if len(numbers) > 1 else numbers[0])
        except (ValueError, OverflowError):
            raise KpuError(
                f"--input '{setting}' is no value for an input",
                hint="write name=3.5, name=1,2,3 or name=file.npy",
            ) from None
    return found


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


CONFLICTS = (
    ("no_values", ("inputs", "outputs", "seed", "compare", "against"), "it computes no values"),
    ("inputs", ("seed",), "no inputs are drawn"),
    ("emit", ("json", "outputs", "inputs", "seed", "profile", "stepped", "no_values",
              "trace", "report", "layers", "save", "batch", "compare", "against"),
     "it prints the IR and stops"),
    ("compare", ("outputs", "batch", "profile", "layers", "stepped", "trace", "report", "save",
                 "against"),
     "it compares and stops"),
    ("json", ("profile", "layers"), "it always has every kernel"),
    ("schedule", ("search",), "it is the schedule"),
)  # fmt: skip
"""Options beside which others would do nothing."""


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that would do nothing, and output files that could not be written."""

    def given(name: str) -> bool:
        return getattr(args, name) not in (None, False)

    for name, others, why in CONFLICTS:
        for other in filter(given, others):
            if given(name):
                flag, useless = (f"--{n.replace('_', '-')}" for n in (name, other))
                raise KpuError(f"{useless} does nothing beside {flag}: {why}", hint="leave one out")
    if args.seed is not None:
        args.seed = _number("--seed", args.seed)
    if args.elide is not None and not args.emit:
        raise KpuError("--elide does nothing without --emit")
    if args.elide not in (None, "none"):
        args.elide = _number("--elide", args.elide, " of elements, or none")
    if args.layers is not None and not args.profile:
        raise KpuError("--layers does nothing without --profile")
    if args.tolerance is not None:
        if not (args.compare or args.against):
            raise KpuError("--tolerance does nothing without --compare or --against")
        if not 0 <= args.tolerance < float("inf"):
            raise KpuError(f"--tolerance {args.tolerance:g}: expected a number from 0")
    if args.compare and not args.file.endswith(".onnx"):
        raise KpuError("--compare is for ONNX models", args.file, "give the .onnx file")
    if args.batch and not args.inputs:
        raise KpuError(
            "--batch does nothing without --inputs", hint="give the items: --inputs F.npz"
        )
    if args.save is not None and not args.save.endswith(".kpu"):
        raise KpuError("--save writes a .kpu file", args.save, "give it a name that ends in .kpu")
    if args.file.endswith(".kpu"):
        flags = {"settings": "set", "fixed": "input"}
        for option in ("machine", "settings", "without", "shape", "fixed", "fuse", "search", "objective",
                       "schedule", "no_cache"):  # fmt: skip
            if getattr(args, option):
                flag = flags.get(option, option.replace("_", "-"))
                raise KpuError(
                    f"--{flag} does nothing for a saved program: it is compiled",
                    args.file,
                    "compile the model again",
                )
    if args.schedule is not None and args.fuse == "full":
        raise KpuError("--fuse full does nothing beside --schedule: products stay apart")
    if args.search == "none" and args.objective:
        raise KpuError("--objective does nothing beside --search none", hint="leave one out")
    if args.trace_window is not None:
        if not args.trace:
            raise KpuError("--trace-window does nothing without --trace")
        from kpu_ir.report.trace import window_of

        args.trace_window = window_of(args.trace_window)
    written: dict[str, str] = {}
    for option in ("outputs", "trace", "report", "save"):
        name = getattr(args, option)
        if name is None:
            continue
        target = Path(name)
        if not target.parent.is_dir():
            raise KpuError("the folder does not exist", str(target.parent), "make it first")
        if target.is_dir():
            raise KpuError("expected a file to write, got a folder", name)
        other = written.setdefault(os.path.realpath(target), option)
        if other != option and (target.is_file() or not target.exists()):
            raise KpuError(f"--{other} and --{option} would write the same file", name)


def _number(option: str, text: str, of: str = "") -> int:
    """The whole number that an option is given."""
    number = whole_number(text)
    if number is None:
        what = f"{option} '{shortened(text)}': expected a number{of}"
        raise KpuError(what, hint="digits only, up to 18")
    return number


def check_level(args: argparse.Namespace, at: Stage) -> None:
    """Refuse options for stages that the module has behind it."""
    for option in ("fuse", "search", "objective", "schedule"):
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
        from kpu_ir.program.cache import key_of

        shapes, fixed, options, machine = self
        return key_of(args.file, shapes, machine, options, args.settings, fixed)


def wanted_of(args: argparse.Namespace) -> Wanted:
    """What the options ask to be compiled, checked."""
    from dataclasses import replace

    from kpu_ir.lowering.schedule import Schedule
    from kpu_ir.machine import Machine
    from kpu_ir.program.options import Options

    shapes = shapes_of(args.shape)
    ir = args.file == "-" or args.file.endswith(".mlir")
    if shapes and ir:
        raise KpuError("--shape does nothing for IR: its shapes are fixed", args.file)
    fixed = fixed_of(args.fixed)
    if fixed and ir:
        raise KpuError("--input does nothing for IR", args.file, "give all inputs: --inputs F.npz")
    chosen = {"fuse": args.fuse, "search": args.search, "objective": args.objective}
    options = Options(**{name: value for name, value in chosen.items() if value})
    if args.schedule is not None:
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

    try:
        return (given or machine_of(module)).with_settings(args.settings)
    except KpuError as e:
        raise KpuError(e.message, e.where or "--set", e.hint) from None


def run(args: argparse.Namespace) -> int:
    """Do what the options say; 1 where a layer differs from onnxruntime's, or an output from that of
    the program ``--against``, else 0."""
    from dataclasses import replace

    check_options(args)
    if args.without:
        from kpu_ir.machine.settings import spared

        args.settings = [*spared(args.without.split(",")), *args.settings]
    if args.compare:
        return against_onnxruntime(args)
    wanted = wanted_of(args)
    if asks_for_figures(args):
        kept = kept_figures(args, wanted)
        if kept is not None:
            return tell(args, kept)
    with progress(args.json) as say:
        compiled, given = obtain(args, say, wanted)
        if args.emit:
            limit = None if args.elide == "none" else 16 if args.elide is None else args.elide
            print(compiled.ir(args.emit, limit), end="")
            return 0
        inputs, items = None, list[dict[str, Any]]()
        if args.batch and given is not None:
            from kpu_ir.program.batches import split

            items = split([(p.name, p.type) for p in compiled.program.inputs], given)
            inputs = compiled.checked(items[0], nan=False)
        elif not args.no_values:
            drawn = given or random_inputs(compiled.program, args.seed or 0)
            inputs = compiled.checked(drawn, nan=False)
        with placed(args.file):
            profile = compiled.profile() if args.profile else None
        if profile is not None and args.layers:
            profile = profile.filter(args.layers)
        with placed(args.file):
            summary, outputs = simulate(compiled, inputs, args, say)
        found = None
        if args.against and inputs is not None:
            found = against(args, compiled, inputs, outputs, say)
        summary = replace(summary, outputs=said_of_outputs(args, summary, found))
    # Its bar takes the place of the line on what is being done.
    if args.batch and given is not None:
        outputs = run_items(compiled, given, items[1:], outputs, not args.json)
    with progress(args.json) as say:
        if args.outputs:
            from kpu_ir.program.arrays import write_arrays

            write_arrays(args.outputs, outputs)
        written = write(args, compiled, summary, say)
    if asks_for_figures(args):
        keep_figures(compiled, summary)
        return tell(args, summary)
    if args.json:
        print(summary.to_json())
        return int(found is not None and found.wrong)
    if found is not None or summary.max_abs_error is None:
        print(shown(f"outputs: {summary.outputs}"))
    if args.batch:
        number, cycles = len(items), f"{len(items) * summary.cycles:,} cycles"
        print(
            f"batch: {number} items, {cycles} one after the other; "
            "the figures are of one, the reference of the first"
        )
    if not args.no_values and given is None and inputs:
        print(f"inputs: random, seed {args.seed or 0} (give your own with --inputs)")
    from kpu_ir.report.screen import show

    show(summary, profile=profile)
    for line in written:
        print(shown(line))
    return int(found is not None and found.wrong)


MORE = (
    "stepped", "emit", "profile", "layers", "save", "trace", "report", "inputs", "outputs", "batch",
    "against", "seed",
)  # fmt: skip
"""Options that ask for more than figures, or for other ones."""


def asks_for_figures(args: argparse.Namespace) -> bool:
    """Whether nothing but the figures of a program is asked for, which may be kept."""
    return args.no_values and not any(getattr(args, name) for name in MORE)


def kept_figures(args: argparse.Namespace, wanted: Wanted) -> Summary | None:
    """The figures that the compile cache has, of the same program."""
    from dataclasses import replace

    from kpu_ir.program.cache import CompileCache
    from kpu_ir.report.summary import Summary

    began = time.perf_counter()
    key = None if args.file.endswith(".kpu") else wanted.key(args)
    found = CompileCache.default().figures(key) if key is not None else None
    if found is None:
        return None
    try:
        summary = Summary.from_dict(found)
    except (LookupError, TypeError):
        return None
    seconds = time.perf_counter() - began
    return replace(
        summary,
        source=args.file,
        command=args.command,
        compile_seconds=seconds,
        simulate_seconds=0.0,
    )


def keep_figures(compiled: Compiled, summary: Summary) -> None:
    """Keep the figures of a program that is kept."""
    if compiled.kept_as:
        import json

        from kpu_ir.program.cache import CompileCache

        CompileCache.default().put_figures(compiled.kept_as, json.loads(summary.to_json()))


def tell(args: argparse.Namespace, summary: Summary) -> int:
    """Print the figures of a program whose values were not asked for."""
    if args.json:
        print(summary.to_json())
        return 0
    from kpu_ir.report.screen import show

    print(shown(f"outputs: {summary.outputs}"))
    show(summary)
    return 0


def said_of_outputs(args: argparse.Namespace, summary: Summary, found: Against | None) -> str:
    """What the outputs were compared with, and how that went."""
    if args.no_values:
        return "not computed (--no-values), and not compared"
    if found is not None:
        return str(found)
    if summary.max_abs_error is not None:
        return "compared with the reference"
    return "not compared: the file has no kernel IR to compute a reference from (--against FILE)"


def against(
    args: argparse.Namespace,
    compiled: Compiled,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    say: Callable[[str], None],
) -> Against:
    """The outputs beside those of the program that this one was made from."""
    from kpu_ir.pipeline import compile
    from kpu_ir.program.against import compare_with

    say("comparing")
    path = args.against
    with placed(path):
        if path.endswith(".kpu"):
            original = compile(path)
        else:
            ir = path.endswith(".mlir")
            original = compile(
                path,
                None if ir else compiled.machine,
                shapes=None if ir else shapes_of(args.shape),
                fixed=None if ir else fixed_of(args.fixed),
                cache=not args.no_cache,
                search="none",
            )
    return compare_with(original, path, compiled, inputs, outputs, args.tolerance)


def run_items(
    compiled: Compiled,
    given: dict[str, Any],
    rest: list[dict[str, Any]],
    first: dict[str, Any],
    bar: bool,
) -> dict[str, Any]:
    """The outputs of every item of a batch, in one array a name; with a bar on a terminal.

    ``first``: those of the first item, which has run; ``rest``: the other items.
    """
    from kpu_ir.program.batches import stack

    outputs = [first, *compiled.map(rest, None if bar else False)]
    return stack([(p.name, p.type) for p in compiled.program.inputs], given, outputs)


def against_onnxruntime(args: argparse.Namespace) -> int:
    """Print each layer's difference from onnxruntime's; 1 if one is above the tolerance."""
    from kpu_ir.integrations.onnxruntime import TOLERANCE, compare, oracle

    oracle()  # before the compilation, which takes longer
    tolerance = TOLERANCE if args.tolerance is None else args.tolerance
    with progress(args.json) as say:
        compiled, given = obtain(args, say, wanted_of(args))
        inputs = given or random_inputs(compiled.program, args.seed or 0)
        checked = compiled.checked(inputs, nan=False)
        found = compare(compiled, checked, tolerance, say, fixed_of(args.fixed))
    if args.json:
        print(found.to_json(args.command))
        return int(found.first is not None)
    if given is None and inputs:
        print(f"inputs: random, seed {args.seed or 0} (give your own with --inputs)")
    from kpu_ir.integrations.onnxruntime import show_comparison

    show_comparison(found)
    return int(found.first is not None)


def write(
    args: argparse.Namespace, compiled: Compiled, summary: Summary, say: Callable[[str], None]
) -> list[str]:
    """Write the program, the trace and the page that were asked for; a line on each."""
    lines: list[str] = []
    if args.save:
        from kpu_ir.report.words import size

        say("saving")
        compiled.save(args.save)
        lines.append(f"program: {args.save}, {size(Path(args.save).stat().st_size)}")
    if args.trace:
        from kpu_ir.report.trace import write_trace

        say("tracing")
        trace = write_trace(compiled.program, args.trace, args.trace_window, args.command)
        lines.append(
            f"trace: {args.trace}, {trace.slices:,} slices, {trace.flows:,} arrows "
            "(open it at https://ui.perfetto.dev)"
        )
    if args.report:
        from kpu_ir.report.html import write_report

        say("report")
        write_report(compiled, summary, args.report, args.command)
        lines.append(f"report: {args.report}")
    return lines


def simulate(
    compiled: Compiled,
    inputs: dict[str, Any] | None,
    args: argparse.Namespace,
    say: Callable[[str], None],
) -> tuple[Summary, dict[str, Any]]:
    """The figures of a run and its outputs, none without inputs."""
    from kpu_ir.report.precision import error_of, shortest_float
    from kpu_ir.report.summary import summarise

    began = time.perf_counter()
    say("timing")
    timing = compiled.time(fast_forward=not args.stepped)
    outputs: dict[str, Any] = {}
    if inputs is not None:
        say("simulating values")
        outputs = compiled(inputs)
    seconds = time.perf_counter() - began
    error = None
    if inputs is not None and compiled.has_reference:
        say("computing the reference")
        short = shortest_float(compiled.stages["kernel"])
        exact = {} if short is None else {"exact": True}
        error = error_of(outputs, compiled.reference(inputs, **exact), short)
    return summarise(compiled, timing, seconds, error, args.command), outputs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr, or where a layer differs."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    args = parser().parse_args(given)
    args.command = shlex.join(["kpu-run", *given])
    return guarded("kpu-run", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
