"""``kpu-bench``: what the machine reaches on canonical workloads, and what the tools cost."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kpu_ir.support.errors import KpuError
from kpu_ir.tools.guard import Parser, guarded

if TYPE_CHECKING:
    from kpu_ir.bench.baseline import Baseline
    from kpu_ir.bench.measure import Setting
    from kpu_ir.bench.table import Table
    from kpu_ir.machine import Machine
    from kpu_ir.report.origin import Origin

PathOrNone = TypeVar("PathOrNone", Path, Path | None)

SIZES = ("64", "128", "256", "512", "1024", "2048", "4096", "8192", "16384")
BYTES = ("128", "256", "512", "1024", "2048", "4096", "8192")
ODD = ("1000", "127x513x1025", "17x4096x33", "3072x128x768", "768x128x3072")


def parser() -> argparse.ArgumentParser:
    """The subcommands and their options."""
    p = Parser(
        "kpu-bench", description="Measure what the machine reaches, and what the tools cost."
    )
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str, searches: bool = True, machine: bool = True) -> Any:
        sub = commands.add_parser(name, help=help, description=help)
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        if machine:
            sub.add_argument("--machine", default="default", help="a preset or a TOML file")
            sub.add_argument("--set", action="append", default=[], dest="settings",
                             metavar="KEY=VALUE", help="change one value of the machine")  # fmt: skip
        if searches:
            sub.add_argument("--search", choices=["none", "ranked", "quick", "full"], default="quick",
                             help="how long to look for schedules (default: quick)")  # fmt: skip
            sub.add_argument("--objective", choices=["cycles", "bytes", "energy", "edp"],
                             default="cycles", help="what schedules are chosen by")  # fmt: skip
        return sub

    def shapes(sub: Any, default: Sequence[str]) -> None:
        sub.add_argument("shapes", nargs="*", default=list(default), metavar="N|MxNxK",
                         help=f"products (default: {' '.join(default)})")  # fmt: skip

    shapes(command("matmul", "products against peak, roofline and I/O bound"), SIZES)
    shapes(command("quantized", "products of bytes, requantized, against peak and limit"), BYTES)
    shapes(command("tiles", "what each decision of a chosen schedule is worth"), ("512",))
    command("bandwidth", "engines by themselves, and kernels that external memory bounds")
    shapes(command("activation", "what an epilogue costs, fused and not"), ("512", "128x3072x768"))
    command("fusion", "blocks of transformers, unfused and fused")
    sub = command("graph", "one layer against a chain: compile time, IR, cycles", searches=False)
    sub.add_argument("--layers", type=int, default=12, help="of the chain (default: 12)")
    sub = command("depth", "equal layers: kernels, IR and compile time, into docs/depth.md")
    sub.add_argument("layers", nargs="*", type=int, metavar="N",
                     help="how many (default: 2 6 12 24 48, and docs/depth.md is written)")  # fmt: skip
    sub.add_argument("--out", default=None, help="write the page here")
    sub = command("roofline", "every workload in one picture, as SVG and PNG")
    sub.add_argument("--out", default="roofline", metavar="FILE",
                     help="where to write; .svg and .png are put in place of its suffix")  # fmt: skip
    command("speed", "the simulator and the tools themselves", searches=False)
    sub = command("costs", "what bursts, set-up, latencies, ... add to each workload",
                  searches=False)  # fmt: skip
    sub.add_argument("names", nargs="*", metavar="WORKLOAD", help="which (default: all)")
    sub = command("validate", "what others measured, beside the model (docs/validation.md)")
    sub.add_argument("--only", choices=["memory", "accelerators"], help="one of both")
    sub = command("audit", "chosen schedules against those that chance finds", searches=False)
    sub.add_argument("names", nargs="*", metavar="KERNEL", help="which (default: all)")
    sub.add_argument("--draws", type=int, default=2500,
                     help="schedules that are drawn for each (default: 2500)")  # fmt: skip
    sub.add_argument("--exhaustive", action="store_true",
                     help="against every candidate of a kernel's space instead")  # fmt: skip
    sub = command("train-ranking", "the learned order of search=ranked, from timed candidates",
                  searches=False)  # fmt: skip
    sub.add_argument("--kernels", type=int, default=500, help="that are drawn (default: 500)")
    sub.add_argument("--seed", type=int, action="append", metavar="N",
                     help="of the draws; more than one: so many kernels of each (default: 1 and 3)")  # fmt: skip
    sub.add_argument("--out", default=None, metavar="FILE", help="write the trees here (.npz)")
    sub = command("monotone", "whether a better machine is ever slower", searches=False)
    sub.add_argument("names", nargs="*", metavar="KERNEL", help="which (default: all)")
    sub.add_argument(
        "--knob", action="append", default=[], metavar="KEY", help="which (default: all)"
    )
    sub.add_argument("--search", choices=["quick", "full"], default="quick",
                     help="how long schedules are looked for (default: quick)")  # fmt: skip
    sub = command("baseline", "figures under version control: replay and compare", False, False)
    sub.add_argument("--machine", default="default", choices=["default", "ideal"],
                     help="whose (default: default)")  # fmt: skip
    sub.add_argument("--update", action="store_true", help="search afresh, show the change, write")
    sub.add_argument("--allow-regression", action="store_true",
                     help="with --update: write an increase over 5 %% too")  # fmt: skip
    sub.add_argument(
        "--file", default=None, help="the file (default: the package's, kpu_ir/bench/data)"
    )
    sub.add_argument("--record", action="store_true",
                     help="append the figures to the history, with date and commit")  # fmt: skip
    history_file(sub)
    sub = command("history", "recorded figures over time, and what grew at which commit",
                  False, False)  # fmt: skip
    sub.add_argument("--machine", default="default", help="whose (default: default)")
    sub.add_argument("--figure", choices=["cycles", "external_bytes", "energy_pj"],
                     default="cycles", help="which (default: cycles)")  # fmt: skip
    sub.add_argument("--out", default=None, metavar="FILE",
                     help="draw it; .svg and .png are put in place of its suffix")  # fmt: skip
    history_file(sub)
    sub = command("models", "whole models against bound and onnxruntime, into docs/models.md")
    sub.add_argument("names", nargs="*", metavar="NAME",
                     help="which (default: all, and docs/models.md is written)")  # fmt: skip
    sub.add_argument("--out", default=None, help="write the page here")
    sub = command(
        "kernels", "each operator against its useful work and bytes, into docs/kernels.md"
    )
    sub.add_argument("--only", action="append", default=[], metavar="NAME",
                     help="kernels whose name begins so (default: all, and the page is written)")  # fmt: skip
    sub.add_argument("--out", default=None, help="write the page here")
    sub = command("all", "everything, into docs/benchmarks.md", False, False)
    sub.add_argument("--out", default=None, help="the file (default: docs/benchmarks.md)")
    return p


def history_file(sub: argparse.ArgumentParser) -> None:
    """The option that names a history."""
    sub.add_argument("--history", default=None, metavar="F.jsonl",
                     help="the history (default: the package's, kpu_ir/bench/data)")  # fmt: skip


@contextmanager
def progress(quiet: bool) -> Generator[Callable[[str], None]]:
    """What is being measured, on stderr if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage: None
        return
    from rich.console import Console

    from kpu_ir.report.words import words

    with Console(stderr=True, markup=False).status("") as status:
        yield lambda what: status.update(words(what))


def setting_of(args: argparse.Namespace, say: Callable[[str], None]) -> Setting:
    """The machine and the options that were asked for."""
    from kpu_ir.bench.measure import Setting
    from kpu_ir.machine import Machine
    from kpu_ir.program.options import Options

    machine = Machine.load(args.machine).with_settings(args.settings)
    given = {name: getattr(args, name) for name in ("search", "objective") if hasattr(args, name)}
    return Setting(machine, Options(**given), say)


def origin_of(args: argparse.Namespace) -> Origin:
    """What a command's output says of itself."""
    from kpu_ir.machine import Machine
    from kpu_ir.report.origin import Origin

    machine = Machine.load(getattr(args, "machine", "default"))
    return Origin.of(machine.with_settings(getattr(args, "settings", [])), args.line)


def tables(args: argparse.Namespace, say: Callable[[str], None]) -> list[Table]:
    """What a measuring subcommand measures."""
    from kpu_ir.bench import measure
    from kpu_ir.bench.workloads import Shape

    setting = setting_of(args, say)
    shapes = [Shape.parse(text) for text in getattr(args, "shapes", ())]
    match args.command:
        case "matmul":
            return [measure.matmul_table(shapes, setting)]
        case "quantized":
            from kpu_ir.bench.quantized import quantized_table

            return [quantized_table(shapes, setting)]
        case "tiles":
            return [measure.tiles_table(shape, setting) for shape in shapes]
        case "bandwidth":
            return [measure.bandwidth_table(setting), measure.external_table(setting)]
        case "activation":
            return [measure.activation_table(shapes, setting)]
        case "fusion":
            return [measure.fusion_table(setting)]
        case "graph":
            if args.layers < 1:
                raise KpuError(f"--layers must be positive, got {args.layers}")
            return [measure.graph_table(setting, args.layers)]
        case "depth":
            return depth(args, setting)
        case "speed":
            return [measure.speed_table(setting)]
        case "train-ranking":
            from kpu_ir.bench.train_ranking import ranking_table

            out = Path(args.out) if args.out else None
            return [ranking_table(args.kernels, args.seed or (1, 3), setting, out)]
        case "monotone":
            from kpu_ir.bench.monotone import monotone_table

            return [monotone_table(args.names, setting, args.search, args.knob)]
        case "audit":
            from kpu_ir.bench.audit import audit_table

            if args.draws < 1:
                raise KpuError(f"--draws must be positive, got {args.draws}")
            return [audit_table(args.names, setting, args.draws, args.exhaustive)]
        case "validate":
            from kpu_ir.bench.validate import memory_table, published_table

            found = [memory_table(setting.machine)] if args.only != "accelerators" else []
            return [*found, published_table(setting)] if args.only != "memory" else found
        case "costs":
            from kpu_ir.bench.costs import costs_table

            return [costs_table(args.names, setting.machine, say)]
        case "models":
            return models(args, say)
        case "kernels":
            return kernels(args, setting, say)
        case _:
            return [roofline(args, setting)]


def roofline(args: argparse.Namespace, setting: Setting) -> Table:
    """The table of the roofline, and its pictures."""
    from kpu_ir.bench.plot import draw, roofline_table

    out = Path(args.out)
    if not out.parent.is_dir():
        raise KpuError("the folder does not exist", str(out.parent), "make it first")
    table = roofline_table(setting)
    written = draw([dict(row) for row in table.rows], setting.machine, out)
    names = ", ".join(path.name for path in written)
    return replace(table, notes=(*table.notes, f"Pictures: {names}."))


def depth(args: argparse.Namespace, setting: Setting) -> list[Table]:
    """Measure depths; the page is written if all of them are."""
    from kpu_ir.bench import depth as d

    usual = None if args.layers else d.PAGE
    return onto_page(args, usual, d.page, lambda: d.depth_table(setting, args.layers or d.DEPTHS))


def baseline(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Replay the recorded schedules and compare; or search afresh, show the change and write it.

    Raises ``KpuError`` where a figure differs, or grew by more than is allowed.
    """
    from kpu_ir.bench import baseline as b
    from kpu_ir.bench.workloads import IN_CHECKOUT
    from kpu_ir.machine import Machine

    if args.history and not args.record:
        raise KpuError("--history does nothing without --record")
    if args.allow_regression and not args.update:
        raise KpuError("--allow-regression does nothing without --update")
    if args.update and not args.file and not IN_CHECKOUT:
        raise KpuError("an installed package keeps its baselines", hint="give --file F.toml")
    machine = Machine.preset(args.machine)
    path = Path(args.file) if args.file else b.PATHS[args.machine]
    if not path.parent.is_dir():
        raise KpuError("the folder does not exist", str(path.parent), "give --file")
    old = b.read(path)
    if not args.update and not old:
        raise KpuError("no baselines are recorded", str(path), b.update(machine))
    if args.update:
        new = b.searched(machine, say=say)
    else:
        new: dict[str, b.Baseline] = {}
        for name, recorded in old.items():
            say(name)
            new[name] = b.check(name, recorded, machine)
    if args.record:
        record(new, machine, args.history)
    rows = b.compare(old, new)
    title = (
        "Recorded, and with schedules looked for afresh"
        if args.update
        else "Recorded, and replayed"
    )
    show([b.table(rows, title)], args)
    if args.update:
        grown = b.regressions(rows)
        if grown and not args.allow_regression:
            raise KpuError(
                "not written: " + "; ".join(grown), hint="--allow-regression, if that is meant"
            )
        b.write(new, machine, path)
        return
    differing = [row["workload"] for row in rows if row["state"] != "same"]
    if differing:
        raise KpuError(f"changed: {', '.join(differing)}", str(path), b.update(machine))


def record(figures: Mapping[str, Baseline], machine: Machine, file: str | None) -> None:
    """Note the figures in the history."""
    from kpu_ir.bench import history as h
    from kpu_ir.bench.workloads import IN_CHECKOUT

    if not file and not IN_CHECKOUT:
        raise KpuError("an installed package keeps its history", hint="give --history F.jsonl")
    entry = h.record(figures, machine, Path(file) if file else h.PATH)
    print(f"recorded: {len(figures)} workloads at {entry.commit}", file=sys.stderr)


def history(args: argparse.Namespace) -> Table:
    """Recorded figures of one machine, and their picture. Raises ``KpuError`` where there are none."""
    from kpu_ir.bench import history as h

    path = Path(args.history) if args.history else h.PATH
    entries = [e for e in h.read(path) if e.machine == args.machine]
    if not entries:
        raise KpuError(
            f"nothing is recorded of machine {args.machine}",
            str(path),
            "kpu-bench baseline --record",
        )
    table = h.table(entries, args.figure)
    if args.out:
        out = Path(args.out)
        if not out.parent.is_dir():
            raise KpuError("the folder does not exist", str(out.parent), "make it first")
        names = ", ".join(p.name for p in h.draw(entries, args.figure, out))
        table = replace(table, notes=(*table.notes, f"Pictures: {names}."))
    return table


def models(args: argparse.Namespace, say: Callable[[str], None]) -> list[Table]:
    """Measure models; the page is written if all of them are."""
    from kpu_ir.bench import models as m

    if args.objective != "cycles":
        raise KpuError("models are measured in cycles", hint="leave --objective out")
    names = args.names or list(m.MODELS)
    return onto_page(
        args, None if args.names else m.PAGE, m.page,
        lambda: m.models_table(names, args.machine, args.settings, args.search, say),
    )  # fmt: skip


def kernels(args: argparse.Namespace, setting: Setting, say: Callable[[str], None]) -> list[Table]:
    """Measure single operators; the page is written if all of them are."""
    from kpu_ir.bench import kernels as k

    usual = None if args.only else k.PAGE
    return onto_page(args, usual, k.page, lambda: k.kernels_table(args.only, setting, say))


def in_checkout(page: PathOrNone) -> PathOrNone:
    """A page of the docs. Raises ``KpuError`` where there are none: in an installed package."""
    from kpu_ir.bench.workloads import IN_CHECKOUT

    if page is not None and not IN_CHECKOUT:
        raise KpuError("an installed package has no docs to write to", hint="give --out F.md")
    return page


def onto_page(
    args: argparse.Namespace,
    usual: Path | None,
    page: Callable[[Table], str],
    measure: Callable[[], Table],
) -> list[Table]:
    """Measure a table, and write its page to ``--out`` or where it ``usual``ly is. A folder that is
    not there is refused before."""
    from kpu_ir.support.files import write_atomically

    out = Path(args.out) if args.out else in_checkout(usual)
    if out is not None and not out.parent.is_dir():
        raise KpuError("the folder does not exist", str(out.parent), "give --out")
    table = measure()
    if out is not None:
        origin = origin_of(args)
        write_atomically(out, f"{page(table)}\n`{origin.command}`, {origin.line()}.\n")
    return [table]


# -- everything -----------------------------------------------------------------------------------

SECTIONS: Sequence[tuple[str, Sequence[str]]] = (
    ("Products", (
        "matmul", f"matmul {' '.join(ODD)}", "matmul 1024 2048 --objective bytes",
        "matmul 1024 --machine large",
    )),
    ("Products of bytes", ("quantized",)),
    ("Around a chosen schedule", ("tiles 64 512",)),
    ("Data movement", ("bandwidth",)),
    ("Epilogues", ("activation",)),
    ("Fusion", ("fusion", "fusion --machine large_l3")),
    ("Graphs", ("graph",)),
    ("Roofline", ("roofline --out docs/roofline",)),
    ("The tools", ("speed",)),
)  # fmt: skip

INTRODUCTION = """\
# Benchmarks

Written by `kpu-bench all` (`make bench`). Above each table stands the command that prints it; `--json` gives the
numbers. Cycles, bytes and energy are simulated and come out the same on any computer; only compile times and the
section on the tools depend on it. Schedules are looked for afresh.
"""


def everything(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Run every measurement and write the page."""
    from kpu_ir.bench import baseline as b
    from kpu_ir.bench.measure import no_cache
    from kpu_ir.bench.workloads import ROOT
    from kpu_ir.support.files import write_atomically
    from kpu_ir.support.package import __version__

    out = Path(args.out) if args.out else in_checkout(ROOT / "docs" / "benchmarks.md")
    if not out.parent.is_dir():
        raise KpuError("the folder does not exist", str(out.parent), "give --out")
    page, collected = [INTRODUCTION, f"Of kpu-ir {__version__}.\n"], list[Any]()
    with no_cache():
        for heading, commands in SECTIONS:
            page.append(f"## {heading}\n")
            for text in commands:
                one = parser().parse_args(shlex.split(text))
                one.line = f"kpu-bench {text}"
                origin = origin_of(one)
                if one.command == "roofline":
                    one.out = str(out.parent / "roofline")
                found = tables(one, lambda stage, text=text: say(f"{text}: {stage}"))
                page.append(f"`{one.line}`, machine {origin.machine} ({origin.machine_digest})\n")
                page += [table.markdown() for table in found]
                if one.command == "roofline":
                    page.append("![Roofline](roofline.svg)\n")
                collected.append({**origin.data(), "tables": [t.data() for t in found]})
                if not args.json:
                    show(found, args)
    recorded = b.recorded_table(b.read())
    page += ["## Baselines\n", "`kpu-bench baseline`\n", recorded.markdown()]
    write_atomically(out, "\n".join(page))
    if args.json:
        print(json.dumps(collected, indent=2))
    else:
        print(f"written: {out}")


def show(found: Sequence[Table], args: argparse.Namespace) -> None:
    """Print tables, for a person or as JSON."""
    if args.json:
        described = {**origin_of(args).data(), "tables": [t.data() for t in found]}
        print(json.dumps(described, indent=2))
        return
    from rich.console import Console

    width = None if sys.stdout.isatty() else 200
    out = Console(highlight=False, no_color="NO_COLOR" in os.environ or None, width=width)
    for table in found:
        table.show(out)


def run(args: argparse.Namespace) -> int:
    """Do what the subcommand says."""
    with progress(args.json) as say:
        match args.command:
            case "baseline":
                baseline(args, say)
                return 0
            case "all":
                everything(args, say)
                return 0
            case "history":
                found = [history(args)]
            case _:
                found = tables(args, say)
    show(found, args)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)

    def work() -> int:
        args = parser().parse_args(given)
        args.line = shlex.join(["kpu-bench", *given])
        return run(args)

    return guarded("kpu-bench", work)


if __name__ == "__main__":
    sys.exit(main())
