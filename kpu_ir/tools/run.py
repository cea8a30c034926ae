"""``kpu-run``: compile a model, run it on the simulated machine, compare, and say where the time went."""

from __future__ import annotations

import argparse
import io
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpu_ir.errors import KpuError


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(
        "kpu-run", description="Compile a model, simulate it with real data, compare and explain."
    )
    p.add_argument("file", help="a .onnx model, or a .mlir module at any altitude")
    p.add_argument("--inputs", metavar="F.npz", help="arrays by input name (default: seeded random ones)")
    p.add_argument("--outputs", metavar="F.npz", help="write the outputs here")
    p.add_argument("--seed", type=int, default=0, help="of the random inputs")
    p.add_argument("--machine", help="a preset or a TOML file (default: the module's own, or default)")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                   help="change one value of the machine, as l2.banks=4")
    p.add_argument("--shape", action="append", default=[], metavar="NAME=1x128",
                   help="the shape of an input, or the value of a named dimension")
    p.add_argument("--no-values", action="store_true", help="time only")
    p.add_argument("--stepped", action="store_true", help="step every operation instead of the closed form")
    p.add_argument("--emit", choices=["kernel", "tile", "dma"], help="print the IR at an altitude and stop")
    p.add_argument("--elide", type=int, default=16, metavar="N",
                   help="with --emit: leave out constants of more than N elements; -1 prints all")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    p.add_argument("--profile", action="store_true", help="a row for every kernel")
    p.add_argument("--fuse", choices=["none", "epilogue"], default="epilogue")
    p.add_argument("--search", choices=["none", "quick", "full"], default="quick",
                   help="how long to look for schedules")
    p.add_argument("--objective", choices=["cycles", "bytes", "energy", "edp"], default="cycles")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


def shapes_of(settings: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """``["x=1x128"]`` as ``{"x": (1, 128)}``."""
    found: dict[str, tuple[int, ...]] = {}
    for setting in settings:
        name, sign, text = setting.rpartition("=")
        try:
            extents = tuple(int(n) for n in text.split("x")) if text else ()
            if not sign or min(extents, default=1) < 0:
                raise ValueError
        except ValueError:
            raise KpuError(f"--shape '{setting}' is not a shape", hint="write name=1x128") from None
        found[name] = extents
    return found


def read_arrays(path: str) -> dict[str, Any]:
    """The arrays of an .npz file."""
    import numpy as np

    if not Path(path).is_file():
        raise KpuError("there is no such file", path)
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as e:
        raise KpuError(f"not an .npz file of arrays: {e}", path, "write it with numpy.savez") from None


def random_inputs(program: Any, seed: int) -> dict[str, Any]:
    """Seeded inputs: normal floats, small non-negative integers."""
    import numpy as np

    from kpu_ir.types import dtype_of

    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for port in program.inputs:
        shape, dtype = tuple(port.type.get_shape()), dtype_of(port.type.element_type)
        integral = dtype.kind in "iub"
        values = rng.integers(0, 2, shape) if integral else rng.standard_normal(shape)
        arrays[port.name] = values.astype(dtype)
    return arrays


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """A line on stderr that says what is being done, if that takes over two seconds and a person looks on."""
    if quiet or not sys.stderr.isatty():
        yield lambda text: None  # pyright: ignore[reportUnknownLambdaType]
        return
    from rich.console import Console
    from rich.status import Status

    status = Status("", console=Console(stderr=True))
    began, shown = time.monotonic(), False

    def say(text: str) -> None:
        nonlocal shown
        status.update(text)
        if not shown and time.monotonic() - began > 2:
            status.start()
            shown = True

    try:
        yield say
    finally:
        if shown:
            status.stop()


def check_options(args: argparse.Namespace) -> None:
    """Options that would do nothing are refused, and output folders looked for, before anything long runs."""
    if args.no_values and (args.outputs or args.inputs):
        raise KpuError("--no-values computes nothing", hint="leave out --inputs and --outputs, or --no-values")
    if args.emit and (args.json or args.outputs or args.inputs or args.profile):
        raise KpuError("--emit prints the IR and stops", hint="leave out the other outputs")
    for path in (args.outputs,):
        if path and not Path(path).absolute().parent.is_dir():
            raise KpuError("the folder does not exist", str(Path(path).parent), "make it first")


def run(args: argparse.Namespace) -> int:
    """Do what the options say."""
    check_options(args)
    from kpu_ir.driver import Options, compile, machine_for, read
    from kpu_ir.machine import Machine

    given = read_arrays(args.inputs) if args.inputs else None
    with progress(args.json) as say:
        say("reading")
        module = read(args.file, shapes_of(args.shape))
        machine = machine_for(module, Machine.load(args.machine) if args.machine else None)
        machine = machine.with_settings(args.settings)
        options = Options(args.fuse, args.search, args.objective)
        began = time.perf_counter()
        compiled = compile(module, machine, progress=say, options=options)
        compiled.source, compiled.compile_seconds = args.file, time.perf_counter() - began
        if args.emit:
            print(compiled.ir(args.emit, None if args.elide < 0 else args.elide), end="")
            return 0
        inputs = None
        if not args.no_values:
            drawn = given if given is not None else random_inputs(compiled.program, args.seed)
            inputs = compiled.checked(drawn, nan=False)
        began = time.perf_counter()
        say("timing")
        timing = compiled.time(closed=not args.stepped)
        outputs, errors = None, None
        if inputs is not None:
            say("simulating values")
            outputs = compiled(inputs)
        seconds = time.perf_counter() - began
        if outputs is not None and inputs is not None and "kernel" in compiled.stages:
            from kpu_ir.report.summary import differences

            say("computing the reference")
            errors = differences(outputs, compiled.reference(inputs))
    from kpu_ir.report.screen import show
    from kpu_ir.report.summary import summarise

    summary = summarise(compiled, timing, seconds, errors)
    if args.outputs and outputs is not None:
        import numpy as np

        from kpu_ir.files import write_atomically

        buffer = io.BytesIO()
        np.savez(buffer, **outputs)
        write_atomically(args.outputs, buffer.getvalue())
    if args.json:
        print(summary.to_json())
        return 0
    if given is None and inputs:
        print(f"inputs: random, seed {args.seed} (give your own with --inputs)", file=sys.stderr)
    if errors is None and not args.no_values:
        print("no kernel IR, so nothing to compare the values with", file=sys.stderr)
    show(summary, every=args.profile)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr."""
    args = parser().parse_args(arguments)
    try:
        return run(args)
    except KpuError as e:
        if args.debug:
            raise
        where = "" if e.where else f"{args.file}: "
        print(f"kpu-run: error: {where}{e}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("kpu-run: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
