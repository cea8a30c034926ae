"""``kpu-run``: compile a model, simulate it, compare, and say where the time went."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpu_ir.support.garbage import uncollected
from kpu_ir.support.names import shown
from kpu_ir.tools.guard import guarded
from kpu_ir.tools.run_options import check_options, fixed_of, parser, shapes_of
from kpu_ir.tools.run_program import Wanted, obtain, placed, progress, random_inputs, wanted_of

if TYPE_CHECKING:
    from kpu_ir.program.against import Against
    from kpu_ir.program.compiled import Compiled
    from kpu_ir.report.figures import Summary
    from kpu_ir.report.profile import Profile


def run(args: argparse.Namespace) -> int:
    """Do what the options say; 1 where a layer differs from onnxruntime's, or an output from that of
    the program ``--against``, else 0."""
    from dataclasses import replace

    check_options(args)
    if args.without is not None:
        from kpu_ir.machine.settings import spared

        args.settings = [*spared(args.without.split(",")), *args.settings]
    if args.compare:
        return against_onnxruntime(args)
    wanted = wanted_of(args)
    if asks_for_figures(args):
        kept = kept_figures(args, wanted)
        if kept is not None:
            tell(args, kept)
            return 0
    with progress(args.json) as say:
        with uncollected(kept=True):
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
    notes: list[str] = []
    if args.batch:
        number, cycles = len(items), f"{len(items) * summary.cycles:,} cycles"
        notes.append(
            f"batch: {number} items, {cycles} one after the other; "
            "the figures are of one, the reference of the first"
        )
    if not args.no_values and given is None and inputs:
        notes.append(f"inputs: random, seed {args.seed or 0} (give your own with --inputs)")
    if args.host:
        from kpu_ir.runtime.round_trip import round_trip

        written = [*written, str(round_trip(compiled))]
    tell(args, summary, notes, profile, written)
    return int(found is not None and found.wrong)


MORE = (
    "stepped", "emit", "profile", "layers", "save", "trace", "report", "inputs", "outputs", "batch",
    "against", "seed", "host",
)  # fmt: skip
"""Options that ask for more than figures, or for other ones."""


def asks_for_figures(args: argparse.Namespace) -> bool:
    """Whether nothing but the figures of a program is asked for, which may be kept."""
    return args.no_values and not any(getattr(args, name) for name in MORE)


def kept_figures(args: argparse.Namespace, wanted: Wanted) -> Summary | None:
    """The figures that the compile cache has, of the same program."""
    from dataclasses import replace

    from kpu_ir.program.cache import CompileCache
    from kpu_ir.report.figures import Summary

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


def tell(
    args: argparse.Namespace,
    summary: Summary,
    notes: Sequence[str] = (),
    profile: Profile | None = None,
    written: Sequence[str] = (),
) -> None:
    """Print the figures, ``notes`` before them and what was ``written`` behind them."""
    if args.json:
        print(summary.to_json())
        return
    from kpu_ir.report.screen import show

    if args.against or summary.max_abs_error is None:
        print(shown(f"outputs: {summary.outputs}"))
    for note in notes:
        print(note)
    show(summary, profile=profile)
    for line in written:
        print(shown(line))


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
    from kpu_ir.integrations.onnxruntime import compare, oracle
    from kpu_ir.program.against import allowed_in
    from kpu_ir.support.types import element_type_named

    oracle()  # before the compilation, which takes longer
    tolerance = args.tolerance
    if tolerance is None:
        tolerance = allowed_in(element_type_named(args.precision or "f32"))
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
        from kpu_ir.support.types import element_type_named

        say("computing the reference")
        short = shortest_float(compiled.stages["kernel"])
        if short is None and compiled.options.precision != "f32":  # the reference is the model's
            short = element_type_named(compiled.options.precision)
        exact = {} if short is None else {"exact": True}
        error = error_of(outputs, compiled.reference(inputs, **exact), short)
    return summarise(compiled, timing, seconds, error, args.command), outputs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr, or where a layer differs."""
    given = sys.argv[1:] if arguments is None else list(arguments)

    def work() -> int:
        args = parser().parse_args(given)
        args.command = shlex.join(["kpu-run", *given])
        return run(args)

    return guarded("kpu-run", work)


if __name__ == "__main__":
    sys.exit(main())
