"""``kpu-opt``: xdsl-opt with our dialects, passes and pipelines, and errors for people."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from io import StringIO
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass, PassPipeline
from xdsl.utils.exceptions import DiagnosticException, ParseError
from xdsl.xdsl_opt_main import xDSLOptMain

from kpu_ir.errors import KpuError
from kpu_ir.registry import DIALECTS, PASSES, PIPELINES, dialect_factory, pass_factory


class KpuOptMain(xDSLOptMain):
    """The upstream driver with our registry; ``main`` turns its exceptions into messages."""

    version_format = "kpu-opt 0.1.0, built on xdsl {xdsl_version}"

    def register_all_dialects(self) -> None:
        """Upstream's and ours."""
        self.ctx = Context()
        super().register_all_dialects()
        for name, target in DIALECTS.items():
            if name not in self.ctx.registered_dialect_names:
                self.ctx.register_dialect(name, dialect_factory(target))

    def register_all_passes(self) -> None:
        """Upstream's and ours, these with the prefix ``kpu-`` as well."""
        super().register_all_passes()
        for name, target in PASSES.items():
            self.available_passes[name] = pass_factory(target)
            self.available_passes.setdefault(f"kpu-{name}", pass_factory(target))

    def register_all_frontends(self) -> None:
        """IR text, with the place of each operation."""
        super().register_all_frontends()

        def parse(stream: IO[bytes]) -> ModuleOp:
            from kpu_ir.parsing import LocatedParser

            text = stream.read().decode()
            parser = LocatedParser(self.ctx, text, self.get_input_name())
            return parser.parse_module(not self.args.no_implicit_module)

        self.available_frontends["mlir"] = parse

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        """Upstream's, and the machine."""
        super().register_all_arguments(arg_parser)
        names = ", ".join(PIPELINES)
        arg_parser.epilog = f"Pipelines, usable as passes: {names}."
        arg_parser.add_argument("--machine", help="a preset's name or a TOML file: set as kpu.machine")
        arg_parser.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
            help="change one value of the machine, as l2.banks=4",
        )
        arg_parser.add_argument(
            "--elide", type=int, metavar="N", help="leave out constants of more than N elements"
        )

    def setup_pipeline(self) -> None:
        """The passes asked for, pipelines spelled out; ``--time-passes`` reports on stderr."""
        spec = self.args.passes
        for name, passes in PIPELINES.items():
            spec = re.sub(rf"(?<![\w-]){name}(?![\w-])", ",".join(passes), spec)
        began = time.perf_counter()

        def callback(before: ModulePass | None, module: ModuleOp, after: ModulePass | None) -> None:
            nonlocal began
            if before is not None and self.args.time_passes:
                print(f"{before.name}: {1e3 * (time.perf_counter() - began):.1f} ms", file=sys.stderr)
            if not self.args.disable_verify:
                module.verify()
            if before is not None and after is not None and self.args.print_between_passes:
                print(f"IR after {before.name}:\n{module}\n")
            began = time.perf_counter()

        self.pipeline = PassPipeline.parse_spec(self.available_passes, spec, callback)

    def apply_passes(self, prog: ModuleOp) -> None:
        """Put the machine on the module, then run the passes."""
        if self.args.machine or self.args.settings:
            from kpu_ir.machine import Machine
            from kpu_ir.machine_attr import ATTRIBUTE, machine_of, machine_to_attr

            name = self.args.machine
            machine = Machine.load(name) if name else machine_of(prog)
            prog.attributes[ATTRIBUTE] = machine_to_attr(machine.with_settings(self.args.settings))
        try:
            super().apply_passes(prog)
        except DiagnosticException as e:
            if self.args.verify_diagnostics:
                raise
            from kpu_ir.parsing import verify_error

            raise verify_error(prog, e) from None

    def output_resulting_program(self, prog: ModuleOp) -> str:
        """The module as text."""
        if self.args.elide is None:
            return super().output_resulting_program(prog)
        from kpu_ir.printing import print_module

        return print_module(prog, self.args.elide)

    def prepare_output(self) -> IO[str]:
        """Standard output, or a buffer that ``main`` writes to the file when all went well."""
        if self.args.output_file is None:
            return sys.stdout
        self.buffer = _Kept()
        return self.buffer

    buffer: _Kept | None = None


class _Kept(StringIO):
    """A buffer whose text outlives ``close``."""

    text = ""

    def close(self) -> None:
        self.text = self.getvalue()
        super().close()


def main(args: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr."""
    try:
        tool = KpuOptMain("The modular optimizer driver of kpu-ir", args)
        tool.run()
        if tool.buffer is not None:
            from kpu_ir.files import write_atomically

            write_atomically(tool.args.output_file, tool.buffer.text)
    except ParseError as e:
        from kpu_ir.parsing import parse_error

        return _fail(parse_error(e))
    except DiagnosticException as e:
        from kpu_ir.parsing import short_message

        return _fail(KpuError(short_message(e)))
    except KpuError as e:
        return _fail(e)
    except FileNotFoundError as e:
        return _fail(KpuError("there is no such file", e.filename))
    except (UnicodeDecodeError, IsADirectoryError, PermissionError) as e:
        return _fail(KpuError(f"cannot be read: {e}"))
    except ValueError as e:
        # What the pipeline's parser raises: unknown passes, wrong options, unknown file endings.
        return _fail(KpuError(str(e)))
    except BrokenPipeError:
        return 0
    return 0


def _fail(error: KpuError) -> int:
    print(f"kpu-opt: error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
