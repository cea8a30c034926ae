"""The options of ``kpu-run``: which there are, which do nothing beside others, what they hold."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kpu_ir.support.errors import KpuError
from kpu_ir.support.names import shortened
from kpu_ir.support.numbers import whole_number
from kpu_ir.tools.guard import Parser


def parser() -> argparse.ArgumentParser:
    """The options. What has no default of its own here is None unless it was given."""
    p = Parser(
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
           "short floats, 0 for integers)")  # fmt: skip
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
    option("--host", "say what a run takes with its copies over the host's link (docs/runtime.md)",
           action="store_true")  # fmt: skip
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
           choices=["none", "ranked", "quick", "full"])  # fmt: skip
    option("--objective", "what schedules are chosen by (default: cycles)",
           choices=["cycles", "bytes", "energy", "edp"])  # fmt: skip
    option("--quantize", "what stands between dequantize and quantize: computed on the stored integers (fold), or in "
           "floats as the model has it (off; default: fold)", choices=["fold", "off"])  # fmt: skip
    option("--requantize", "how sums of integers become quantized numbers again: one product in f32, half to even "
           "(f32), or a product and a shift of integers, each rounded (double; default: as the model says, else f32)",
           choices=["f32", "double"])  # fmt: skip
    option("--precision", "compile a model of f32 in this type; sums stay f32 (default: f32)",
           choices=["f32", "f16", "bf16"])  # fmt: skip
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


CONFLICTS = (
    ("no_values", ("inputs", "outputs", "seed", "compare", "against"), "it computes no values"),
    ("inputs", ("seed",), "no inputs are drawn"),
    ("emit", ("json", "outputs", "inputs", "seed", "profile", "stepped", "no_values",
              "trace", "report", "layers", "save", "batch", "compare", "against", "host"),
     "it prints the IR and stops"),
    ("compare", ("outputs", "batch", "profile", "layers", "stepped", "trace", "report", "save",
                 "against", "host"),
     "it compares and stops"),
    ("json", ("profile", "layers"), "it always has every kernel"),
    ("json", ("host",), "it has the figures of the program"),
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
        args.tolerance = _tolerance(args.tolerance)
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
                       "quantize", "requantize", "precision", "schedule", "no_cache"):  # fmt: skip
            if getattr(args, option):
                flag = flags.get(option, option.replace("_", "-"))
                raise KpuError(
                    f"--{flag} does nothing for a saved program: it is compiled",
                    args.file,
                    "compile the model again",
                )
    if args.schedule is not None and args.fuse == "full":
        raise KpuError("--fuse full does nothing beside --schedule: products stay apart")
    if args.quantize == "off" and args.requantize:
        raise KpuError("--requantize does nothing beside --quantize off: nothing is of integers")
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


def _tolerance(text: str) -> float:
    """The share of the largest value that ``--tolerance`` is given."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise KpuError(f"--tolerance '{shortened(text)}': expected a number from 0")
    return number


def _number(option: str, text: str, of: str = "") -> int:
    """The whole number that an option is given."""
    number = whole_number(text)
    if number is None:
        what = f"{option} '{shortened(text)}': expected a number{of}"
        raise KpuError(what, hint="digits only, up to 18")
    return number
