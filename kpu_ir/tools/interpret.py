"""``kpu-interpret``: xdsl-run with the references of ``kernel`` and ``tile``, on whole arrays.

It says what a module *means*: no machine, no schedule, no time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter
from xdsl.parser import Parser
from xdsl.tools.xdsl_run import xDSLRunMain
from xdsl.utils.exceptions import DiagnosticException, InterpretationError, ParseError

from kpu_ir.registry import register_dialects
from kpu_ir.support.errors import KpuError
from kpu_ir.tools.guard import guarded, refuse

SHOWN = 64
"""Elements of an array that are printed; of a larger one its ends."""


class KpuInterpretMain(xDSLRunMain):
    """The upstream runner with our dialects, their interpreter functions, and arrays by name."""

    def register_all_dialects(self) -> None:
        """Upstream's and ours."""
        super().register_all_dialects()
        register_dialects(self.ctx)

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        """Upstream's, and where arrays come from and go to."""
        super().register_all_arguments(arg_parser)
        arg_parser.prog = "kpu-interpret"
        arg_parser.error = partial(refuse, arg_parser)
        option: Callable[..., Any] = arg_parser.add_argument
        option("--inputs", metavar="F.npz", help="arrays by argument name (default: drawn)")
        option("--seed", type=int, help="of the drawn arguments (default: 0)")
        option("--outputs", metavar="F.npz", help="write the results here, print their types only")
        option("--precision", choices=["f64"], help="compute floats of kernel operations in f64")
        for action in arg_parser._actions:  # pyright: ignore[reportPrivateUsage]
            if action.dest == "input_file":
                action.help = "a module of kernel or tile operations; standard input for -"

    def register_implementations(self, interpreter: Interpreter) -> None:
        """Upstream's and ours."""
        import numpy as np

        from kpu_ir.interpreters import kernel, tile

        super().register_implementations(interpreter)
        kernel.register(interpreter, np.float64 if self.args.precision else None)
        tile.register(interpreter)

    def get_input_name(self) -> str:
        """What messages call the input."""
        return "stdin" if self.args.input_file in (None, "-") else self.args.input_file

    def module(self) -> ModuleOp:
        """The verified module. Raises ``KpuError`` with its place for what is wrong in it."""
        from kpu_ir.text.parsing import load_module

        return load_module(
            "-" if self.get_input_name() == "stdin" else self.args.input_file, self.ctx
        )

    def run(self) -> None:
        """Call the function with its arguments; print what it gives, or write it to a file.

        Of a function without results that is what its arguments hold afterwards.
        """
        from kpu_ir.interpreters.arguments import argument_names, result_names
        from kpu_ir.interpreters.base import call, function_named

        module = self.module()
        function = function_named(module, self.args.symbol)
        interpreter = Interpreter(module, index_bitwidth=self.args.index_bitwidth)
        self.register_implementations(interpreter)
        arguments = self.arguments(interpreter, function)
        results = call(interpreter, function, arguments)
        if function.function_type.outputs.data:
            named = dict(zip(result_names(function), results))
        else:
            named = dict(zip(argument_names(function), arguments))
        if self.args.outputs:
            from kpu_ir.program.arrays import write_arrays

            write_arrays(self.args.outputs, named)
        for name, value in named.items():
            show(name, value, whole=not self.args.outputs)

    def arguments(self, interpreter: Interpreter, function: FuncOp) -> list[Any]:
        """Those of ``--args``, those of a file, or drawn ones."""
        from kpu_ir.interpreters.arguments import argument_types, arguments_of, drawn

        given = [
            f"--{n}" for n in ("args", "inputs", "seed") if getattr(self.args, n) not in (None, "")
        ]
        if len(given) > 1:
            raise KpuError(
                f"{given[0]} and {given[1]} both give the arguments", hint="leave out one"
            )
        if self.args.args:
            parser = Parser(self.ctx, self.args.args, "--args")
            read = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_attribute)
            kinds = function.function_type.inputs.data
            if len(read) != len(kinds):
                raise KpuError(f"--args: expected {len(kinds)} arguments, got {len(read)}")
            return [interpreter.value_for_attribute(a, kind) for a, kind in zip(read, kinds)]
        if self.args.inputs:
            from kpu_ir.program.arrays import ArrayFile

            file = ArrayFile(self.args.inputs)
            arguments_of(function, file.stand_ins())  # before a large file is unpacked
            arrays = file.read()
        else:
            arrays = drawn(argument_types(function), self.args.seed or 0)
        import numpy as np

        return arguments_of(function, arrays, np.float64 if self.args.precision else None)


def show(name: str, value: Any, whole: bool) -> None:
    """``name: f32 of 2x3``, and the elements."""
    import numpy as np

    if not isinstance(value, np.ndarray):
        print(f"{name}: {value}")
        return
    shape = "x".join(map(str, value.shape)) or "scalar"
    print(f"{name}: {value.dtype} {shape}")
    if whole:
        print(np.array2string(value, threshold=SHOWN, edgeitems=3, max_line_width=100))


def work(args: Sequence[str] | None) -> int:
    """Run the tool. Raises ``KpuError`` for what was wrong."""
    try:
        KpuInterpretMain("Interpret a module: what it means, in NumPy", args).run()
    except ParseError as e:  # of --args
        from kpu_ir.text.parsing import parse_error

        raise parse_error(e) from None
    except (DiagnosticException, InterpretationError) as e:
        raise KpuError(str(e).rstrip()) from None
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr."""
    return guarded("kpu-interpret", lambda: work(args))


if __name__ == "__main__":
    sys.exit(main())
