"""``kpu-opt``: xdsl-opt with our dialects, passes and pipelines, and errors for people."""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass, PassPipeline
from xdsl.utils.arg_spec import ArgSpec, parse_pipeline, parse_spec
from xdsl.utils.exceptions import (
    ArgSpecParseError,
    DiagnosticException,
    ParseError,
    ShrinkException,
)
from xdsl.xdsl_opt_main import xDSLOptMain

from kpu_ir.integrations.xdsl import PREFIX
from kpu_ir.registry import ALIASES, PASSES, PIPELINES, pass_factory, register_dialects
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import shortened
from kpu_ir.support.numbers import whole_number
from kpu_ir.tools.guard import guarded, refuse
from kpu_ir.tools.opt_help import HelpFormatter, values

if TYPE_CHECKING:
    from kpu_ir.pipeline import CompilePass

HELP = {
    "input_file": "path to the input; standard input without one, or for -",
    "passes": "passes and pipelines (below, and upstream's), as 'a,b{option=value}'",
    "print_between_passes": "print the IR before the first pass and after each, to be read back "
    "with --split-input-file",
    "split_input_file": "work on each piece between lines of '// -----' by itself; go on after one "
    "that is wrong",
}
"""What is said of upstream's options, where it would be wrong or too long."""


def _elements(text: str) -> int:
    """A number of elements, of an option."""
    number = whole_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"expected a number of elements, got {shortened(text)}")
    return number


def _is_compile(step: ModulePass) -> bool:
    """Whether a pass stands for the list of passes that ``kpu_ir.compile`` runs."""
    return step.name.removeprefix(PREFIX) == "compile"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kpu-ir")
    except PackageNotFoundError:  # a checkout that is not installed
        return "(not installed)"


class KpuOptMain(xDSLOptMain):
    """The upstream driver with our registry; what the user did wrong becomes a ``KpuError``."""

    version_format = f"kpu-opt of kpu-ir {_version()}, built on xdsl {{xdsl_version}}"

    buffer: _Kept | None = None
    """What to write to the output file, if one was asked for."""

    source: tuple[str, int] = "", 0
    """The text of the chunk that is being worked on, and the lines before it."""

    failures: int = 0
    """How many chunks went wrong."""

    # -- what there is ----------------------------------------------------------------------------

    def register_all_dialects(self) -> None:
        """Upstream's and ours."""
        self.ctx = Context()
        super().register_all_dialects()
        register_dialects(self.ctx)

    def register_all_passes(self) -> None:
        """Upstream's and ours, these with the prefix ``kpu-`` as well."""
        super().register_all_passes()
        for name, target in PASSES.items():
            self.available_passes[name] = pass_factory(target)
            self.available_passes[PREFIX + name] = pass_factory(target, PREFIX)

    def register_all_frontends(self) -> None:
        """IR text, with the place of each operation."""
        super().register_all_frontends()

        def parse(stream: IO[bytes]) -> ModuleOp:
            from kpu_ir.text.parsing import STUMBLES, LocatedParser

            try:
                text = stream.read().decode()
            except UnicodeDecodeError:
                raise KpuError("it is not UTF-8 text", self.get_input_name()) from None
            self.source = text, self.source[1]
            parser = LocatedParser(self.ctx, text, self.get_input_name(), self.source[1])
            try:
                return parser.parse_module(not self.args.no_implicit_module)
            except DiagnosticException as e:
                if self.args.verify_diagnostics:
                    raise
                raise parser.refusal(e) from None
            except STUMBLES as e:
                raise parser.stumble(e) from None

        self.available_frontends["mlir"] = parse

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        """Upstream's, and the machine."""
        super().register_all_arguments(arg_parser)
        arg_parser.prog = "kpu-opt"
        arg_parser.error = partial(refuse, arg_parser)
        arg_parser.formatter_class = HelpFormatter
        arg_parser.epilog = HelpFormatter.PASSES
        for action in arg_parser._actions:  # pyright: ignore[reportPrivateUsage]
            action.help = HELP.get(action.dest, action.help)
        arg_parser.add_argument(
            "--machine", help="a preset's name or a TOML file: set as kpu.machine of the module"
        )
        arg_parser.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
            help="change one value of the machine, as l2.banks=4",
        )  # fmt: skip
        arg_parser.add_argument(
            "--elide",
            type=_elements,
            metavar="N",
            help="leave out constants of more than N elements",
        )

    # -- what was asked for -----------------------------------------------------------------------

    def setup_pipeline(self) -> None:
        """The passes asked for, pipelines spelled out; ``--time-passes`` reports on stderr.

        ``--print-between-passes`` prints the module before the first pass and after each, also
        after the last one if the result goes to a file. Each module stands under a line that
        ``--split-input-file`` splits at, so that all of it can be read back.
        """
        self._check_target()
        began = time.perf_counter()
        shown: ModuleOp | None = None

        def callback(before: ModulePass | None, module: ModuleOp, after: ModulePass | None) -> None:
            nonlocal began, shown
            if before is not None and self.args.time_passes:
                elapsed = 1e3 * (time.perf_counter() - began)
                print(f"{before.name}: {elapsed:.1f} ms", file=sys.stderr)
            if not self.args.disable_verify:
                self._verify(module, before)
            if self.args.print_between_passes and (before or after):
                same = shown is not None and module.is_structurally_equivalent(shown)
                if before is None:  # the first of its piece
                    print(f"// IR before {after and after.name}")
                else:
                    print(f"// -----// IR after {before.name}{' (no change)' if same else ''}")
                if not same and (after or self.buffer is not None):  # else the result follows
                    print(self._ir(module))
                shown = module.clone()
            began = time.perf_counter()

        passes = tuple(self._pass(spec) for spec in self._specs(self.args.passes))
        self.pipeline = PassPipeline(passes, callback)

    def _specs(self, text: str) -> Iterator[ArgSpec]:
        """Each pass with its options, those of pipelines one by one."""
        for spec in parse_pipeline(text):
            spec = ArgSpec(ALIASES.get(spec.name, spec.name), spec.parameters)
            if spec.name not in PIPELINES:
                yield spec
                continue
            passes = ",".join(PIPELINES[spec.name])
            if spec.parameters:
                raise KpuError(
                    f"the pipeline '{spec.name}' has no options",
                    hint=f'spell it out: -p "{passes}"',
                )
            yield from parse_pipeline(passes)

    def _pass(self, spec: ArgSpec) -> ModulePass:
        known = self.available_passes
        if spec.name not in known:
            import difflib

            near = difflib.get_close_matches(spec.name, [*known, *PIPELINES], 1)
            ours = ", ".join([*PASSES, *PIPELINES])
            guess = f"did you mean '{near[0]}'? " if near else ""
            raise KpuError(f"there is no pass '{spec.name}'", hint=f"{guess}ours: {ours}")
        kind = known[spec.name]()
        try:
            return kind.from_spec(spec)
        except ValueError as e:
            said, expects, type = str(e).partition(", expected ")
            raise KpuError(f"pass '{spec.name}': {said}{expects}{values(type)}") from None

    def _check_target(self) -> None:
        spec = parse_spec(self.args.target)
        if self.args.elide is not None and (spec.name != "mlir" or self.args.syntax_highlight):
            raise KpuError("--elide is for IR text without colours", hint="leave out one of them")
        entry: Any = self.available_targets[spec.name]
        if not inspect.signature(entry).parameters:
            try:
                entry().from_spec(spec)
            except ValueError as e:
                raise KpuError(f"target '{spec.name}': {e}") from None

    # -- reading, working, writing ----------------------------------------------------------------

    def run(self) -> None:
        """Each chunk of the input; one that goes wrong does not keep the others from being done."""
        chunks, extension = self.prepare_input()
        output = self.prepare_output()
        try:
            for i, (chunk, offset) in enumerate(chunks):
                if i > 0:
                    output.write("// -----\n")
                try:
                    output.write(self._chunk(chunk, extension, offset))
                except KpuError as e:
                    from kpu_ir.text.places import with_line

                    self.failures += 1
                    text, before = self.source
                    complain(with_line(e, self.get_input_name(), lambda: "\n" * before + text))
                finally:
                    chunk.close()
                output.flush()
        except ShrinkException:
            print("Success, can shrink")
            sys.exit(0)
        finally:
            if output is not sys.stdout:
                output.close()
        if self.args.shrink:
            print("Failure, can't shrink")
            sys.exit(1)

    def _chunk(self, chunk: IO[bytes], extension: str, offset: int) -> str:
        """What a chunk becomes. Raises ``KpuError``, or prints upstream's diagnostics if told to."""
        try:
            module = self.parse_chunk(chunk, extension, offset)
            if module is None:
                return ""
            self.apply_passes(module)
            return self.output_resulting_program(module)
        except ParseError as e:
            e.span = replace(e.span, line_offset=offset)
            if not self.args.parsing_diagnostics:
                from kpu_ir.text.parsing import parse_error

                raise parse_error(e) from None
            print(e)
        except DiagnosticException as e:
            if not self.args.verify_diagnostics:
                raise KpuError(str(e).rstrip()) from None
            print(e, *getattr(e, "__notes__", ()), sep="\n")
        return ""

    def get_input_name(self) -> str:
        """What messages call the input."""
        return "stdin" if self.args.input_file in (None, "-") else self.args.input_file

    def get_input_stream(self) -> tuple[IO[bytes], str]:
        """The file, and the ending of its name; standard input for ``-``."""
        if self.args.input_file == "-":
            return sys.stdin.buffer, "mlir"
        try:
            return super().get_input_stream()
        except OSError as e:
            raise KpuError(f"cannot be read: {e.strerror}", self.args.input_file) from None

    def prepare_input(self) -> tuple[list[tuple[IO[bytes], int]], str]:
        """The chunks of the input, and how to read them."""
        try:
            return super().prepare_input()
        except ValueError as e:  # upstream's way to refuse an ending
            kinds = ", ".join(f".{kind}" for kind in self.available_frontends)
            raise KpuError(str(e), self.get_input_name(), f"it reads {kinds}; or -f mlir") from None

    def prepare_output(self) -> IO[str]:
        """Standard output, or a buffer that ``main`` writes to the file when all went well."""
        path = self.args.output_file
        if path is None:
            return sys.stdout
        if not Path(path).parent.is_dir():
            raise KpuError("the folder of the output does not exist", path)
        self.buffer = _Kept()
        return self.buffer

    def parse_chunk(
        self, chunk: IO[bytes], file_extension: str, start_offset: int = 0
    ) -> ModuleOp | None:
        """The module of one chunk, whose operations know their lines in the file."""
        self.source = "", start_offset
        return super().parse_chunk(chunk, file_extension, start_offset)

    def apply_passes(self, prog: ModuleOp) -> None:
        """Put the machine on the module, then run the passes."""
        if self.args.machine or self.args.settings:
            from kpu_ir.machine import Machine
            from kpu_ir.machine.attr import ATTRIBUTE, machine_of, machine_to_attr

            name = self.args.machine
            machine = Machine.load(name) if name else machine_of(prog)
            prog.attributes[ATTRIBUTE] = machine_to_attr(machine.with_settings(self.args.settings))
        if not any(map(_is_compile, self.pipeline.passes)):
            super().apply_passes(prog)
            return
        from kpu_ir.tuning.session import session

        before: list[ModulePass] = []
        with session():
            for step in self.pipeline.passes:
                if not _is_compile(step):
                    before.append(step)
                    continue
                if before:  # what comes first says where the module stands
                    PassPipeline(tuple(before), self.pipeline.callback).apply(self.ctx, prog)
                before = cast("CompilePass", step).steps(prog)
            PassPipeline(tuple(before), self.pipeline.callback).apply(self.ctx, prog)

    def _verify(self, module: ModuleOp, before: ModulePass | None) -> None:
        try:
            module.verify()
        except (DiagnosticException, LookupError, ValueError) as e:  # xDSL's own stumble
            if self.args.verify_diagnostics and isinstance(e, DiagnosticException):
                raise
            from kpu_ir.text.parsing import Source, verify_error

            text, offset = self.source
            error = verify_error(module, e, Source(text, self.get_input_name(), offset))
            after = f"after {before.name}: " if before is not None else ""
            raise KpuError(after + error.message, error.where) from None
        from kpu_ir.sim.program.layout import check_layout

        check_layout(module)
        if before is None:  # what passes make of it is ours
            from kpu_ir.program.verify import check_module

            check_module(module)

    def output_resulting_program(self, prog: ModuleOp) -> str:
        """The module as text."""
        if self.args.elide is None:
            return super().output_resulting_program(prog)
        return self._ir(prog) + "\n\n"

    def _ir(self, module: ModuleOp) -> str:
        from kpu_ir.text.printing import ElidingPrinter

        stream = StringIO()
        printer = ElidingPrinter(
            stream=stream,
            print_generic_format=self.args.print_op_generic,
            print_properties_as_attributes=self.args.print_no_properties,
            print_debuginfo=self.args.print_debuginfo,
            limit=self.args.elide,
        )
        printer.print_op(module)
        printer.print_metadata(self.ctx.loaded_dialects)
        return stream.getvalue()


class _Kept(StringIO):
    """A buffer whose text outlives ``close``."""

    text = ""

    def close(self) -> None:
        self.text = self.getvalue()
        super().close()


def work(args: Sequence[str] | None) -> int:
    """Run the tool: 1 if a piece of the input was wrong. Raises ``KpuError`` for what stops it."""
    try:
        tool = KpuOptMain("The modular optimizer driver of kpu-ir", args)
    except ArgSpecParseError as e:
        raise KpuError(str(e).rstrip()) from None
    tool.run()
    if tool.buffer is not None and not tool.failures:
        from kpu_ir.support.files import write_atomically

        write_atomically(tool.args.output_file, tool.buffer.text)
    return int(tool.failures > 0)


def main(args: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr."""
    return guarded("kpu-opt", lambda: work(args))


def complain(error: KpuError) -> None:
    """Say what is wrong with a piece of the input."""
    sys.stdout.flush()
    print(f"kpu-opt: error: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
