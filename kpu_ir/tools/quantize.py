"""``kpu-quantize``: a quantized copy of an ONNX model, and what that costs and saves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from kpu_ir.support.errors import KpuError
from kpu_ir.support.numbers import whole_number
from kpu_ir.tools.guard import Parser, guarded


def parser() -> argparse.ArgumentParser:
    """The options."""
    from kpu_ir.integrations.quantize_model import (
        Activations,
        Method,
        Requantize,
        Rounding,
        Weights,
    )

    p = Parser(
        "kpu-quantize", description="Write a quantized copy of an ONNX model, in standard ONNX."
    )

    def option(name: str, help: str, **more: Any) -> None:
        p.add_argument(name, help=help, **more)

    option("file", "a .onnx model")
    option("-o", "write the quantized model here", dest="output", metavar="F.onnx", required=True)
    option("--calibrate", "typical inputs by name: many items, stacked or along their first axis",
           metavar="F.npz")  # fmt: skip
    option("--weights", "around 0, per output channel (default: i8)", choices=get_args(Weights),
           default="i8")  # fmt: skip
    option("--block", "weights that share a scale along k, 16 to 256; 0: all of an output channel (default: 32 for "
           "i4, else 0)",
           metavar="N")  # fmt: skip
    option("--activations", "u8 around a zero point or i8 around 0, by calibration; f16 or none: "
           "weights alone (default: u8, with --per-token i8)", choices=get_args(Activations))  # fmt: skip
    option("--per-token", "activations in steps of each row's largest, as the model runs",
           action="store_true")  # fmt: skip
    option("--io-f16", "keep inputs and results of f32 in f16 whose name matches, as caches ('*': all)",
           action="append", default=[], metavar="PATTERN")  # fmt: skip
    option("--exclude", "leave nodes as they are whose name matches, as '*head*'", action="append",
           default=[], metavar="PATTERN")  # fmt: skip
    option("--method", "how calibration finds ranges (default: minmax)", choices=get_args(Method),
           default="minmax")  # fmt: skip
    option("--rounding", "weights become their nearest steps, or gptq: those that leave the least error of products "
           "with the calibration data's (default: gptq with --calibrate)", choices=get_args(Rounding))  # fmt: skip
    option("--requantize", "how sums become bytes again: one product in f32, half to even; or in integers, "
           "rounded twice, as mobile runtimes (default: f32)", choices=get_args(Requantize), default="f32")  # fmt: skip
    option("--report", "print each layer's noise, and predicted cycles, bytes and energy of both",
           action="store_true")  # fmt: skip
    option("--machine", "with --report: a preset or a TOML file (default: 'default')")
    option("--search", "with --report: how schedules are chosen (default: none)",
           choices=["none", "ranked", "quick", "full"])  # fmt: skip
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    return guarded("kpu-quantize", lambda: run(arguments))


def run(arguments: Sequence[str] | None) -> int:
    """Quantize, write, report."""
    from kpu_ir.integrations.quantize import quantize
    from kpu_ir.integrations.quantize_model import stored_bytes
    from kpu_ir.support.files import path_of

    args = parser().parse_args(arguments)
    for name in ("machine", "search"):
        if getattr(args, name) and not args.report:
            raise KpuError(f"--{name} does nothing without --report")
    if args.per_token and args.activations == "u8":
        raise KpuError(
            "--activations u8 does nothing with --per-token: rows are in steps around 0",
            hint="leave it out, or --activations i8",
        )
    if path_of(args.output).suffix != ".onnx":
        raise KpuError("expected a name that ends in .onnx", args.output)
    block = None if args.block is None else whole_number(args.block)
    if args.block is not None and block is None:
        raise KpuError(f"--block {args.block}: expected a number")
    made = quantize(
        args.file,
        None if args.report else args.output,
        args.calibrate,
        weights=args.weights,
        activations=args.activations or ("i8" if args.per_token else "u8"),
        block=block,
        per_token=args.per_token,
        exclude=args.exclude,
        method=args.method,
        rounding=args.rounding,
        requantize=args.requantize,
        io_f16=args.io_f16,
    )
    if args.report:
        from kpu_ir.report.screen import console

        found = made.report(args.machine, args.search or "none")
        made.save(args.output)
        console().print(found)
    sizes = [stored_bytes(Path(path)) for path in (args.file, args.output)]
    ratio = sizes[0] / sizes[1]
    change = f"{ratio:.2f} x fewer" if ratio >= 1 else f"{1 / ratio:.2f} x more"
    print(f"{args.output}: {len(made.layers)} layers quantized, {len(made.kept)} kept in floats, "
          f"{sizes[1]:,} bytes ({change})")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
