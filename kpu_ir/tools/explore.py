"""``kpu-explore``: which machine? Studies of many machines, and the questions before them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpu_ir.support.errors import KpuError
from kpu_ir.support.names import shown
from kpu_ir.tools.guard import Parser, guarded

if TYPE_CHECKING:
    from kpu_ir.bench.table import Table
    from kpu_ir.explore.study import Results, Seen
    from kpu_ir.explore.workload import Workload

SHOWN_PAIRS = 5
"""Of a better machine that is slower."""

COMMANDS = ("run", "evaluate", "sensitivity", "roofline", "compare")


def parser() -> argparse.ArgumentParser:
    """The subcommands; a study's file alone is ``run``."""
    p = Parser(
        "kpu-explore",
        description="Run workloads on many machines: kpu-explore study.toml (docs/explore.md).",
    )
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        return sub

    def processes(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--processes", type=int, metavar="N",
                         help="of this machine (default: one a processor)")  # fmt: skip

    sub = command("run", "a study: evaluate its points, write table, page and pictures")
    sub.add_argument("study", help="a TOML file")
    sub.add_argument("--out", metavar="FOLDER", help="results (default: the study's name.results)")
    sub.add_argument("--resume", action="store_true", help="go on with what the folder has")
    processes(sub)
    sub.add_argument("--dask", metavar="ADDRESS", help="a scheduler's, to run on its cluster")
    sub = command("evaluate", "one point again, from the file of its result or its configuration")
    sub.add_argument("point", help="a .json file")

    def models(sub: argparse.ArgumentParser, many: bool = True) -> None:
        sub.add_argument("models" if many else "model", nargs="+" if many else None, metavar="MODEL",
                         help=".onnx, .mlir, or a workload of kpu-bench, as 'matmul 256'")  # fmt: skip
        sub.add_argument("--shape", action="append", default=[], metavar="NAME=1x128",
                         help="the shape of an input, of every model that has it")  # fmt: skip
        sub.add_argument("--search", choices=["none", "ranked", "quick", "full"], default="quick",
                         help="how long to look for schedules (default: quick)")  # fmt: skip

    def machine(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--machine", default="default", help="a preset or a TOML file")
        sub.add_argument("--set", action="append", default=[], dest="settings",
                         metavar="KEY=VALUE", help="change one value of the machine")  # fmt: skip

    sub = command("sensitivity", "turn each part of a machine down and up; what matters most first")
    models(sub)
    machine(sub)
    processes(sub)
    sub.add_argument("--factor", type=float, default=2.0, help="by how much (default: 2)")
    sub = command("roofline", "networks on one roofline; with --out as a picture")
    models(sub)
    machine(sub)
    sub.add_argument("--out", metavar="FILE", help="write FILE.svg and FILE.png")
    sub = command("compare", "two machines layer by layer: where does the slower one lose?")
    sub.add_argument("a", help="a preset or a TOML file")
    sub.add_argument("b", help="another one")
    models(sub, many=False)
    return p


@contextmanager
def bar(quiet: bool) -> Generator[Callable[[Seen], None]]:
    """How far a study is, on stderr if that is a terminal: a bar, the time left, the best so far."""
    if quiet or not sys.stderr.isatty():
        yield lambda seen: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    from kpu_ir.explore.study import settings_text

    columns = (BarColumn(), MofNCompleteColumn(), Left(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True, markup=False)) as progress:
        task = progress.add_task("", total=None)

        def watch(seen: Seen) -> None:
            best = seen.best
            text = f"best so far: {settings_text(best.knobs)}" if best is not None else ""
            progress.update(task, completed=seen.done, total=seen.total, description=shown(text))

        yield watch


def study(args: argparse.Namespace) -> int:
    """Run a study and write what it found."""
    from kpu_ir.explore.study import Study

    if args.processes is not None and (args.processes < 1 or args.dask):
        raise KpuError("--processes is a number from 1, and not beside --dask")
    asked = Study.load(args.study)
    out = Path(args.out or f"{Path(args.study).stem}.results")
    with bar(args.json) as watch:
        found = asked.run(
            out, resume=args.resume, processes=args.processes, dask=args.dask, watch=watch
        )
    written = write(found, out, args.line)
    if args.json:
        print(json.dumps(described(found, written, args.line), indent=2))
        return int(any(d.status == "error" for d in found.designs))
    tell(found)
    for path in written:
        print(f"written: {path}")
    return int(any(d.status == "error" for d in found.designs))


def write(found: Results, out: Path, line: str) -> list[str]:
    """Table, page and pictures of a study; what was written."""
    from kpu_ir.explore.page import write_page
    from kpu_ir.explore.plot import draw_front, has_matplotlib
    from kpu_ir.explore.table import has_parquet, write_csv, write_parquet

    table = found.table()
    write_csv(table, out / "table.csv")
    written = [str(out / "table.csv")]
    if has_parquet():
        write_parquet(table, out / "table.parquet")
        written.append(str(out / "table.parquet"))
    written.append(str(write_page(found, out, line)))
    if has_matplotlib() and len(found.spec.objectives) > 1:
        written += [str(path) for path in draw_front(found, out / "front")]
    return written


def described(found: Results, written: Sequence[str], line: str) -> dict[str, Any]:
    """A study as JSON."""
    from kpu_ir.explore.study import settings_text
    from kpu_ir.support.package import __version__

    best = found.winner
    return {
        "version": __version__,
        "command": line,
        "study": found.spec.name,
        "written": list(written),
        "winner": best.number if best is not None else None,
        "winner_settings": settings_text(best.knobs) if best is not None else None,
        "front": [design.number for design in found.front],
        "table": found.table(),
    }


def tell(found: Results) -> None:
    """The front on the screen."""
    from rich.table import Table as RichTable

    from kpu_ir.explore.insight import backwards
    from kpu_ir.report.screen import console
    from kpu_ir.report.words import words

    out = console()
    counts: dict[str, int] = {}
    for design in found.designs:
        counts[design.status] = counts.get(design.status, 0) + 1
    said = ", ".join(f"{n} {status}" for status, n in counts.items())
    out.print(words(f"{found.spec.name}: {len(found.designs)} points: {said}", "bold"))
    for design in found.designs:
        if design.status == "error":
            out.print(words(f"  point {design.number}: {design.reason}"), soft_wrap=True)
    names = [o.text for o in found.spec.objectives]
    changed = [knob.name for knob in found.spec.space.knobs]
    table = RichTable(box=None, padding=(0, 1), header_style="dim")
    for heading in ("point", *names, *changed):
        table.add_column(words(heading), justify="right", overflow="fold")
    winner = found.winner
    for design in (*found.front, found.base):
        number = "base" if design is found.base else str(design.number)
        mark = " *" if design is winner else ""
        values = [o.least(v) for o, v in zip(found.spec.objectives, design.values, strict=False)]
        table.add_row(
            number + mark,
            *(f"{v:.4g}" for v in values or [float("nan")] * len(names)),
            *(_shown(design.knobs[name]) for name in changed),
        )
    out.print(table)
    pairs = backwards(found)
    for pair in pairs[:SHOWN_PAIRS]:
        out.print(words(f"  {pair.sentence()}"), soft_wrap=True)
    if len(pairs) > SHOWN_PAIRS:
        out.print(f"  and {len(pairs) - SHOWN_PAIRS:,} more such pairs (study.html)")
    out.print(words("  * the least product of objectives; the others of the front, and the base"))


def _shown(value: Any) -> str:
    return (
        f"{value:g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate one point and print its row."""
    from kpu_ir.explore.evaluate import MEASURED, Point, compiler
    from kpu_ir.explore.evaluate import evaluate as row_of
    from kpu_ir.support.files import read_text

    try:
        data = json.loads(read_text(args.point))
        given = Point.of_data(data.get("configuration", data))
    except (ValueError, AttributeError):
        raise KpuError("this is not JSON of a point", args.point) from None
    now = Point(given.machine, given.workload, given.options, compiler())
    row = row_of(now)
    if args.json:
        print(json.dumps(row, indent=2))
        return 0
    for name, value in row.items():
        if name not in MEASURED:
            print(
                shown(
                    f"{name:24} {value:,.6g}" if isinstance(value, float) else f"{name:24} {value}"
                )
            )
    kept = data.get("row", {})
    differs = [
        k for k in row if k not in (*MEASURED, "key", "compiler") and kept.get(k, row[k]) != row[k]
    ]
    if differs:
        print(f"the file has other values of: {', '.join(differs)}")
    return int(bool(differs))


def workloads_of(names: Sequence[str], shapes: Sequence[str]) -> list[Workload]:
    """Files and canonical workloads by what was given."""
    from kpu_ir.explore.workload import Workload
    from kpu_ir.tools.run_options import shapes_of

    given = {name: list(shape) for name, shape in shapes_of(shapes).items()}
    found: list[Workload] = []
    for name in names:
        kind = "file" if Path(name).suffix in (".onnx", ".mlir") else "builtin"
        model = kind == "file" and name.endswith(".onnx")
        one = {kind: name, "shapes": given if model else {}}
        found.append(Workload.of(one, Path()))
    return found


def question(args: argparse.Namespace) -> Table:
    """The table that answers ``sensitivity``, ``roofline`` or ``compare``."""
    import tempfile

    from kpu_ir.bench.plot import draw
    from kpu_ir.explore import questions
    from kpu_ir.explore.drive import Local
    from kpu_ir.explore.store import Store
    from kpu_ir.machine import Machine
    from kpu_ir.program.options import Options
    from kpu_ir.tools.bench import progress

    options = Options(search=args.search)
    if args.command == "compare":
        (workload,) = workloads_of([args.model], args.shape)
        a, b = (questions.side(Machine.load(m), workload, options) for m in (args.a, args.b))
        return questions.compare(a, b, workload.name)
    workloads = workloads_of(args.models, args.shape)
    machine = Machine.load(args.machine).with_settings(args.settings)
    if args.command == "roofline":
        with progress(args.json) as say:
            table = questions.roofline(machine, workloads, options, say)
        if args.out:
            draw([dict(row) for row in table.rows], machine, Path(args.out), "Networks")
        return table
    if args.processes is not None and args.processes < 1:
        raise KpuError("--processes is a number from 1")
    with tempfile.TemporaryDirectory() as folder:
        driver = Local(Store(Path(folder)), args.processes)
        try:
            return questions.sensitivity(machine, workloads, options, args.factor, driver)
        finally:
            driver.close()


def answer(args: argparse.Namespace) -> int:
    """Print a table, for a person or as JSON."""
    from kpu_ir.report.screen import console
    from kpu_ir.support.package import __version__

    table = question(args)
    if args.json:
        data = {"version": __version__, "command": args.line, **table.data()}
        print(json.dumps(data, indent=2))
    else:
        table.show(console())
    return 0


def run(args: argparse.Namespace) -> int:
    """Do what the subcommand says."""
    match args.command:
        case "run":
            return study(args)
        case "evaluate":
            return evaluate(args)
        case _:
            return answer(args)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    words = given
    if given and given[0] not in (*COMMANDS, "-h", "--help"):
        words = ["run", *given]

    def work() -> int:
        args = parser().parse_args(words)
        args.line = shlex.join(["kpu-explore", *given])
        return run(args)

    return guarded("kpu-explore", work)


if __name__ == "__main__":
    sys.exit(main())
